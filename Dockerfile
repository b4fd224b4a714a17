# docker build -t strait . && docker run --rm strait
# The same scripts as on a bare machine; nothing is set up here that they do not do.
FROM debian:12-slim
WORKDIR /strait
# Packages first, so that a changed source file does not install them again.
COPY scripts/install_deps.sh scripts/
RUN scripts/install_deps.sh
COPY . .
# An image may move to another machine: no instructions that only this one has.
RUN scripts/build.sh cpu -DSTRAIT_NATIVE=OFF
# Open MPI refuses to run as root, which a container is, unless told so twice.
ENV OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
CMD ["scripts/quickstart.sh"]
