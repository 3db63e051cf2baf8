# transfer_exp on CPUs, as a user without rights:
#   docker build -t transfer-exp .
#   docker run --rm -v "$PWD/results:/results" transfer-exp                      # the demo
#   docker run --rm -v "$PWD/results:/results" transfer-exp surrogate=svm_low    # any other command
# The folder results must be writable for user 1000 (or add --user "$(id -u)").
FROM python:3.11-slim
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1 MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /source
COPY constraints.txt ./
# The build of torch without CUDA, a tenth of the size: of one version, pip prefers it.
RUN pip install --extra-index-url https://download.pytorch.org/whl/cpu -c constraints.txt torch
COPY pyproject.toml README.md LICENSE ./
COPY conf conf
COPY hydra_plugins hydra_plugins
COPY transfer_exp transfer_exp
RUN pip install --extra-index-url https://download.pytorch.org/whl/cpu -c constraints.txt .
RUN useradd --create-home --uid 1000 researcher && install -d -o researcher /results
USER researcher
WORKDIR /results
ENV TRANSFER_EXP_ROOT=/results
ENTRYPOINT ["transfer-exp"]
CMD ["demo"]
