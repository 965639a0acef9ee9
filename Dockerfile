# syntax=docker/dockerfile:1

FROM docker.io/library/rust:1-slim-bookworm AS build
WORKDIR /build
# Builds a static glibc binary, which needs no files for name resolution and TLS other than the CA bundle. With an explicit
# target, Cargo does not apply RUSTFLAGS to build scripts and procedural macros.
RUN rustc --print host-tuple > /target-name
# Packed relocations save 14 kB in the compressed image. A linker that does not support them prints a warning.
ENV RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs"

# Builds the dependencies in a layer of their own, which is rebuilt only when they change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && cargo build --release --locked --target "$(cat /target-name)" \
    && rm -r src

COPY src src
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --target "$(cat /target-name)" \
    && install -D "target/$(cat /target-name)/release/webadmit-export" /out/webadmit-export \
    && /out/webadmit-export --version

FROM docker.io/library/busybox:1-musl
LABEL org.opencontainers.image.title="webadmit-export" \
      org.opencontainers.image.description="Runs WebAdMIT exports and PDF Manager batches and downloads their files" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/webadmit-export /usr/local/bin/webadmit-export
# No USER: in a container action, GITHUB_OUTPUT and the other files of the runner belong to root.
ENTRYPOINT ["/usr/local/bin/webadmit-export"]
