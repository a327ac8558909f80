# syntax=docker/dockerfile:1.18
# One image for every service and command: `docker run aftersend ingest`, `... processor`, `... sink clickhouse`, `... migrate`.

FROM rust:1.95-slim-bookworm AS builder

# librdkafka and zstd are compiled from source; librdkafka links to the system's OpenSSL and zlib.
# Debian's package versions are those of the pinned base image; pinning each would break with every security update.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc g++ make perl pkg-config libssl-dev zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY . .

# Registry and target directory stay in BuildKit's cache: after a change only our own crates are compiled again. They always are: cargo goes by file
# times, which a checkout of something older may leave behind those of the cache. A cache mount is no part of the image, so the binary is copied out in
# the same step. Names of functions stay in it for backtraces; line tables, most of its size, do not.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    find . -path ./target -prune -o -type f -exec touch {} + \
    && cargo build --release --locked -p aftersend \
    && install -D target/release/aftersend /out/aftersend \
    && strip --strip-debug /out/aftersend


FROM debian:bookworm-slim

# A volume mounted at /var/lib/aftersend is the service's own; the rest of the image may be read-only.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 aftersend \
    && useradd --system --uid 10001 --gid 10001 --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin aftersend \
    && install -d -o 10001 -g 10001 /var/lib/aftersend

COPY --from=builder /out/aftersend /usr/local/bin/aftersend

# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
ENV AFTERSEND_LOG_FORMAT=json

# The door, and the admin pages of ingest, processor, ClickHouse sink and Track sink.
EXPOSE 8080 9101 9102 9103 9104

LABEL org.opencontainers.image.title="aftersend" \
      org.opencontainers.image.description="Customer.io reporting webhooks to Kafka, deliverability scores, ClickHouse and the Track API"

ENTRYPOINT ["aftersend"]
