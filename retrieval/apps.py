from django.apps import AppConfig


class RetrievalConfig(AppConfig):
    name = "retrieval"
    verbose_name = "Archive"

    def ready(self) -> None:
        # Here, so that every process that can delete rows knows what goes with them.
        from retrieval.services import forgetting  # noqa: F401
