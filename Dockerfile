# syntax=docker/dockerfile:1

FROM docker.io/library/rust:1-slim-bookworm AS build
WORKDIR /build
# Timestamp for the metadata of the image; releases set it to the time of their commit.
ARG SOURCE_DATE_EPOCH

# Builds the dependencies in a layer of their own, which is rebuilt only when they change.
COPY scripts/build-release scripts/
COPY Cargo.toml Cargo.lock ./
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && scripts/build-release \
    && rm -r src

COPY src src
RUN touch src/main.rs src/lib.rs \
    && scripts/build-release \
    && install -D "target/$(rustc --print host-tuple)/release/webadmit-export" /out/webadmit-export \
    && /out/webadmit-export --version

FROM docker.io/library/busybox:1-musl
LABEL org.opencontainers.image.title="webadmit-export" \
      org.opencontainers.image.description="Runs WebAdMIT exports and PDF Manager batches and downloads their files" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/webadmit-export /usr/local/bin/webadmit-export
# No USER: in a container action, GITHUB_OUTPUT and the other files of the runner belong to root.
ENTRYPOINT ["/usr/local/bin/webadmit-export"]
