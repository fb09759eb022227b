"""The web process. It never imports torch and never decodes an uploaded file: workers do."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cbmir_site.settings")
application = get_wsgi_application()
# Where uploads wait; Django does not make it.
settings.WORK_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
