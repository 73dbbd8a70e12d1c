# authorid with the included model, for containers without network, root and a writable image:
#
#   docker build -t authorid .
#   mkdir -p out
#   docker run --rm --network none --read-only --tmpfs /tmp --user "$(id -u)" \
#     -v "$PWD/letters:/letters:ro" -v "$PWD/out:/out" authorid score /letters --out /out/results.csv

# The full image has a C compiler.
FROM python:3.13 AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/authorid && /opt/authorid/bin/pip install --no-cache-dir .
# Without a compiler, pip would leave out the fast n-gram loops.
RUN /opt/authorid/bin/python -P -c "from authorid.ngrams import kernels; assert kernels.backend() == 'compiled'"

FROM python:3.13-slim
COPY --from=build /opt/authorid /opt/authorid
# What authorid learns about the machine is kept while /tmp is; it runs without, too.
ENV PATH=/opt/authorid/bin:$PATH HOME=/tmp AUTHORID_CACHE=/tmp/authorid
USER 65532:65532
ENTRYPOINT ["authorid"]
