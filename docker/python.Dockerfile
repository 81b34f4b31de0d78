# A Python peer with pinned packages: `REQUIREMENTS` names one of python-fixtures/requirements-*.txt.
FROM python:3.11.11-slim-bookworm
ARG REQUIREMENTS=celery-5.7.0
WORKDIR /app
COPY python-fixtures/requirements-${REQUIREMENTS}.txt requirements.txt
RUN pip install --no-cache-dir -r requirements.txt && useradd --create-home peer
COPY python-fixtures/ .
USER peer
ENV PYTHONUNBUFFERED=1
