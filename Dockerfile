# The program, its pipelines, and nothing else. Mount the sources at /app/data and the lake at /app/lake.

FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY src src
# The manifest names it.
COPY benches/inner_loops.rs benches/
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin pipeline && cp target/release/pipeline /usr/local/bin/

FROM debian:bookworm-slim
RUN useradd --uid 1000 --no-create-home --shell /usr/sbin/nologin medalha \
    && install --directory --owner medalha /app /app/data /app/lake
COPY --from=build /usr/local/bin/pipeline /usr/local/bin/
COPY pipelines /app/pipelines
COPY profiles /app/profiles
WORKDIR /app
USER medalha
ENTRYPOINT ["pipeline"]
CMD ["run", "--pipeline", "imaging"]
