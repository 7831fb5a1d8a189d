# An image with vobs alone: to copy it into an image of vLLM (examples/docker/vllm.Dockerfile),
# and for the subcommands that need no engine beside them:
#
#	docker build --build-arg VERSION="$(git describe --tags --always)" -t vobs .
#	docker run --rm -v "$PWD:/work" vobs compare base.jsonl new.jsonl
#
# See docs/containers.md.

# Debian 12: the binary then runs wherever glibc is 2.34 or newer, as in the images of vLLM.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
# With cgo, which NVML needs.
RUN CGO_ENABLED=1 go build -buildvcs=false -trimpath -tags urfave_cli_no_docs \
	-ldflags "-s -w -X github.com/vobs/vobs/internal/cli.version=${VERSION}" -o /out/vobs .

# glibc and the certificates of public authorities; no shell. The user has the number 65532.
FROM gcr.io/distroless/base-debian12:nonroot
LABEL org.opencontainers.image.title="vobs" \
	org.opencontainers.image.description="brackets a vLLM generation run and writes one JSON event" \
	org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/vobs /usr/local/bin/vobs
COPY LICENSE /usr/share/doc/vobs/
# What the NVIDIA Container Toolkit gives a container that has GPUs: NVML needs no more.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=utility
WORKDIR /work
ENTRYPOINT ["/usr/local/bin/vobs"]
