# Flower on the same Celery and Kombu as the worker: a monitor reads what the installed Celery understands.
FROM python:3.11.11-slim-bookworm
COPY python-fixtures/requirements-celery-5.7.0.txt docker/requirements-flower.txt ./
RUN pip install --no-cache-dir -r requirements-celery-5.7.0.txt -r requirements-flower.txt && useradd --create-home peer
USER peer
ENV PYTHONUNBUFFERED=1
EXPOSE 5555
