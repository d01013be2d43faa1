# The image of dfks: the program, the libraries it loads, authorities and users; no shell, not root.
#   docker build -t dfks/dfks:0.1.0 .
# No container engine was at hand where this was written: it is linted, and its last stage's folder was made and run with chroot.

ARG RUST_VERSION=1.95
ARG DEBIAN=bookworm

FROM rust:${RUST_VERSION}-slim-${DEBIAN} AS build
WORKDIR /src
# the newest authorities are wanted, not a version of them
# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
# the dependencies alone: this layer stays as long as Cargo.lock does
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src \
    && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -rf src target/release/dfks target/release/deps/dfks-* target/release/deps/libdfks-* target/release/.fingerprint/dfks-*
COPY src src
COPY schemas schemas
COPY LICENSE ./
COPY tools/split-symbols tools/split-symbols
RUN cargo build --release --locked && tools/split-symbols target/release/dfks
# what the program needs of the system, and no more
COPY deploy/docker/rootfs /usr/local/bin/rootfs
RUN rootfs target/release/dfks /rootfs

# the symbols of the program in the image: docker build --target symbols --output . .
FROM scratch AS symbols
COPY --from=build /src/target/release/dfks.debug /

FROM scratch
LABEL org.opencontainers.image.title="dfks" \
      org.opencontainers.image.description="Keeps the feature keys of SIP phones in step with the services that own them, over NATS" \
      org.opencontainers.image.source="https://github.com/dfks/dfks" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /rootfs /
USER 65532:65532
WORKDIR /var/lib/dfks
EXPOSE 5060/udp 5060/tcp 5061/tcp 8888/tcp 9464/tcp
STOPSIGNAL SIGTERM
# No HEALTHCHECK: the image has nothing that could ask. Kubernetes probes /healthz and /readyz itself, Prometheus sees the rest.
ENTRYPOINT ["/usr/bin/dfks"]
CMD ["run"]
