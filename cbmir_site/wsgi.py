"""The web process. It never imports torch and never decodes an uploaded file: workers do."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cbmir_site.settings")
application = get_wsgi_application()
