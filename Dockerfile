# docker build -t tetrit . && docker run --rm tetrit        (the main job)
# docker run --rm tetrit make test                          (the tests)
FROM python:3.12-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ make perl \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /tetrit
COPY . .
RUN make sim && make test

CMD ["make", "sim"]
