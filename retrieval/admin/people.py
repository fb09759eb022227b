"""People and their groups."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from retrieval.admin.mixins import ChangesOnlyMixin
from retrieval.models import Query
from retrieval.services.forgetting import delete_person

admin.site.unregister([User, Group])


@admin.register(User)
class PersonAdmin(ChangesOnlyMixin, UserAdmin, ModelAdmin):
    """What the site itself writes down about a person is not for people to change.

    Nor do people give themselves or others more than groups give: superusers are for superusers, single rights too.
    """

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    readonly_fields = ("last_login", "date_joined")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:  # noqa: ARG002
        return self.readonly_fields + (() if _is_superuser(request) else ("is_superuser", "user_permissions"))

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and _may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_touch(request, obj)

    def get_deleted_objects(self, objs: Sequence[User] | QuerySet[User], request: HttpRequest) -> tuple[Any, ...]:
        """Who goes, and how much with them: to name each of their searches would read all that was answered."""
        people = list(objs)
        refused = {str(self.opts.verbose_name) for each in people if not self.has_delete_permission(request, each)}
        counts = {
            self.opts.verbose_name_plural: len(people),
            "searches with their pictures": Query.objects.filter(user__in=people).count(),
            "entries of their work in the administration": LogEntry.objects.filter(user__in=people).count(),
        }
        return list(map(str, people)), counts, refused, []

    def delete_model(self, request: HttpRequest, obj: User) -> None:  # noqa: ARG002
        delete_person(obj)

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:  # noqa: ARG002
        for person in queryset:
            delete_person(person)


def _is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_superuser)


def _may_touch(request: HttpRequest, person: User | None) -> bool:
    """Not who may do more by rights of their own: whoever gives them a password can log in as them."""
    if person is None or _is_superuser(request):
        return True
    single = person.user_permissions.values_list("content_type__app_label", "codename")
    return not person.is_superuser and request.user.has_perms([f"{app}.{codename}" for app, codename in single])


@admin.register(Group)
class RoleAdmin(ChangesOnlyMixin, GroupAdmin, ModelAdmin):
    pass
