"""All settings, from the environment where an installation may differ. docs/operations.md lists the variables."""

from datetime import timedelta

from cbmir_site.administration import UNFOLD as UNFOLD
from cbmir_site.environment import Environment
from cbmir_site.paths import BASE_DIR, data_dir, secret

env = Environment()
DATA_DIR = data_dir()

SITE_NAME = "CBMIR"
SECRET_KEY = env("SECRET_KEY", default="") or secret("django")
# Patient keys, public identifiers and file names are keyed hashes: this key outlives changes of SECRET_KEY.
HASH_KEY = env("CBMIR_HASH_KEY", default="") or secret("hash")
DEBUG = env.bool("DEBUG", default=False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "training",
    "retrieval",
    # Before the administration, whose pages and site it replaces.
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "django_htmx",
    "csp",
    "axes",
]

MIDDLEWARE = [
    "cbmir_site.middleware.end_silence",
    "django.middleware.security.SecurityMiddleware",
    "cbmir_site.middleware.refuse_nul",
    "cbmir_site.middleware.limit_body",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "cbmir_site.middleware.keep_nothing",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    # Deny by default: a page is open only where its view says so.
    "cbmir_site.middleware.LoginRequired",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "cbmir_site.middleware.loosen_policy",
    "django_htmx.middleware.HtmxMiddleware",
    # Behind CommonMiddleware, which writes down how long the answer is.
    "cbmir_site.middleware.explain_wrong_method",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "cbmir_site.urls"
WSGI_APPLICATION = "cbmir_site.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "cbmir_site.context.site",
            ],
        },
    },
]

# Each process has its own connections; kept open, since opening one costs more than most queries.
DATABASES = {"default": {**env.db("DATABASE_URL", default="postgresql:///cbmir"), "CONN_MAX_AGE": 600}}
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"].setdefault("OPTIONS", {})["connect_timeout"] = 5
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
# The first counts failures and refuses, the second knows names, passwords and rights.
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
# Passwords cannot be tried out: after ten wrong ones for a name, from one address, it is closed there for ten minutes.
# Not for all addresses, or anybody could keep anybody out.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=10)
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_LOCKOUT_TEMPLATE = "registration/login.html"
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
# Not a line at each start of each process.
AXES_VERBOSE = False
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "ask"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en-gb"
TIME_ZONE = env("TIME_ZONE", default="UTC")
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "cbmir_site.staticfiles.PackageFinder",
]
MEDIA_ROOT = DATA_DIR / "media"
WORK_DIR = DATA_DIR / "work"
# No MEDIA_URL: images leave the site only through views that check the right to see them.
STORAGES = {
    "default": {"BACKEND": "retrieval.storage.DurableFileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
FILE_UPLOAD_PERMISSIONS = 0o600
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o700

# Cookies and transport. Behind TLS set HTTPS=1.
HTTPS = env.bool("HTTPS", default=False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SESSION_COOKIE_AGE = 12 * 3600
SESSION_ENGINE = "django.contrib.sessions.backends.db"
SECURE_REFERRER_POLICY = "same-origin"
CSRF_FAILURE_VIEW = "cbmir_site.errors.form_refused"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        # blob: shows the dropped image at once, before it is sent.
        "img-src": ["'self'", "blob:", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
    },
}
# On top of that below /admin/: the scripts of its theme read what they do out of attributes, and set styles.
ADMIN_SECURITY_POLICY = {"script-src": ["'unsafe-eval'"], "style-src-attr": ["'unsafe-inline'"]}

# Celery: ids only on the queue; the rows in PostgreSQL are the record (see retrieval/services/jobs.py).
CELERY_BROKER_URL = env("REDIS_URL", default="redis://localhost:6379/0")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_DEFAULT_QUEUE = "jobs"
CELERY_TASK_TIME_LIMIT = 3600
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# A process in the place of a dead one loads PyTorch and a network first: after the usual 4 seconds it would be killed.
CELERY_WORKER_PROC_ALIVE_TIMEOUT = 120
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_TIMEOUT = 2
CELERY_TASK_PUBLISH_RETRY = False
# Longer than the longest task: a shorter one would run it twice, side by side.
# A Redis that hangs must not hang the web process with it: socket_timeout ends the wait.
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 2 * 86_400, "socket_connect_timeout": 2, "socket_timeout": 3}

# Whether what identifies a patient is removed from files before they are stored. Without, originals stay as they came.
DEIDENTIFY_ORIGINALS = env.bool("CBMIR_DEIDENTIFY_ORIGINALS", default=True)
# Whether DICOM pictures that may have names drawn into them wait for a person to look at them.
REVIEW_BURNED_IN = env.bool("CBMIR_REVIEW_BURNED_IN", default=True)
# What one query may send, and how much memory an upload may take before it goes to disk.
QUERY_MAX_BYTES = env.int("CBMIR_QUERY_MAX_BYTES", default=200 * 2**20)
FILE_UPLOAD_MAX_MEMORY_SIZE = 2**20
# Not the system's temporary folder: an upload whose web process was killed is found here and removed.
FILE_UPLOAD_TEMP_DIR = WORK_DIR
WORK_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
# Uploads into datasets: all bytes of one, and after how many days what nobody finished or retried is removed.
UPLOAD_DIR = WORK_DIR / "uploads"
UPLOAD_MAX_BYTES = env.int("CBMIR_UPLOAD_MAX_BYTES", default=20 * 2**30)
UPLOAD_DAYS = env.float("CBMIR_UPLOAD_DAYS", default=7)
# How long a result page waits for its rows before it answers with "searching".
QUERY_WAIT_SECONDS = env.float("CBMIR_QUERY_WAIT_SECONDS", default=1.5)
# The network of the first model version: "published", "vgg16" or "narrow"; and its weights: imagenet, none or a file.
INITIAL_ARCHITECTURE = env("CBMIR_ARCHITECTURE", default="published")
INITIAL_WEIGHTS = env("CBMIR_WEIGHTS", default="imagenet")
DEMO = env.bool("CBMIR_DEMO", default=True)
# Whether the first start trains a network on the demo archive, in the background.
DEMO_TRAINING = env.bool("CBMIR_DEMO_TRAINING", default=True)
# One attempt of a training run may take so long. Below the broker's visibility_timeout.
TRAINING_TIME_LIMIT = timedelta(hours=env.float("CBMIR_TRAINING_HOURS", default=24))
# Memory for what the frozen blocks make of the images; with less, they are computed anew in each epoch.
TRAINING_CACHE_BYTES = env.int("CBMIR_TRAINING_CACHE_MB", default=2048) * 2**20

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    # A page that somebody may not see, or that is not there, is no event worth a traceback.
    "loggers": {"django.request": {"level": "ERROR"}},
    "root": {"handlers": ["stderr"], "level": env("LOG_LEVEL", default="INFO")},
}
