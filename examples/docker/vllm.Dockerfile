# vLLM's own image with vobs in it: build the image vobs first (Dockerfile at the root).
#
#	docker build -t vllm-vobs -f examples/docker/vllm.Dockerfile examples/docker
#	docker run --rm --gpus all --pid=host --ipc=host -v "$PWD:/work" -w /work --entrypoint vobs \
#		vllm-vobs run -o event.json -- vllm bench throughput --model facebook/opt-125m
ARG VLLM_VERSION=v0.32.0
FROM vllm/vllm-openai:${VLLM_VERSION}
# hadolint ignore=DL3022
COPY --from=vobs /usr/local/bin/vobs /usr/local/bin/vobs
