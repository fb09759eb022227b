"""What several models have in common."""

from typing import Any

from django import forms
from django.db.models import Field
from django.forms import ModelForm
from django.http import HttpRequest


class ReadOnlyMixin:
    """Rows that only jobs write."""

    def has_add_permission(self, request: HttpRequest, *_: object) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        return False


class ShownChoices(forms.HiddenInput):
    """What was chosen of a relation, in one input that is sent even when it is nothing.

    With an input for each, as Django has it, a form that comes back with an error takes what is new for what was shown.
    """

    def format_value(self, value: list[object] | None) -> str:
        return ",".join(map(str, value or ()))

    def value_from_datadict(self, data: Any, files: object, name: str) -> list[str]:  # noqa: ARG002
        return [pk for pk in data.get(name, "").split(",") if pk]


class ChangesOnlyMixin:
    """Only what differs from what the form has shown is saved: what a colleague changed while it was open stays."""

    opts: Any

    def formfield_for_dbfield(self, db_field: Field, request: HttpRequest, **kwargs: Any) -> forms.Field | None:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]
        if field:
            field.show_hidden_initial = True
            if db_field.many_to_many:
                field.hidden_widget = ShownChoices
        return field

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm, change: Any) -> None:
        if not change:
            super().save_model(request, obj, form, change)  # type: ignore[misc]
            return
        columns = {field.name for field in self.opts.concrete_fields}
        obj.save(update_fields=columns.intersection(form.changed_data))

    def save_related(self, request: HttpRequest, form: ModelForm, formsets: Any, change: Any) -> None:
        """What was added comes to what there is by now, what was taken away goes."""
        relations = [field.name for field in self.opts.many_to_many if change and field.name in form.cleaned_data]
        for name in relations:
            chosen, rows = form.cleaned_data.pop(name), getattr(form.instance, name)
            shown = ShownChoices().value_from_datadict(form.data, form.files, form[name].html_initial_name)
            rows.add(*(row for row in chosen if str(row.pk) not in shown))
            rows.remove(*(row for row in rows.all() if str(row.pk) in shown and row not in chosen))
        super().save_related(request, form, formsets, change)  # type: ignore[misc]
