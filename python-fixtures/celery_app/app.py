"""A Celery app whose tasks, all under `fixture.`, do what the interop tests ask of a Python worker.

Run it with `celery -A celery_app.app worker`; `settings.py` says how it is configured. Keep it working on Celery 5.4.0,
5.6.3 and 5.7.0.
"""

from .settings import make_app, read_settings
from .tasks import register

app = make_app(read_settings())
register(app)
