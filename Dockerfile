# syntax=docker/dockerfile:1

FROM docker.io/library/rust:1-slim-bookworm AS build
WORKDIR /build
# A static glibc binary: it resolves names and speaks TLS in an otherwise empty root. The target is named because Cargo
# then keeps the flag away from build scripts and procedural macros.
RUN rustc --print host-tuple > /target-name
# Packed relocations make it 14 kB smaller once compressed; where the linker does not know them, it says so and goes on.
ENV RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs"

# The dependencies, in a layer of their own: it is built anew only when they change.
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
      org.opencontainers.image.description="Waits for a WebAdMIT export and brings its file into the workspace" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/webadmit-export /usr/local/bin/webadmit-export
# No USER: the runner's files, GITHUB_OUTPUT among them, belong to root in a container action.
ENTRYPOINT ["/usr/local/bin/webadmit-export"]
