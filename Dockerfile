# Two stages: the wheel and what it needs, then only the environment that holds them.
FROM python:3.13.9-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN python -m venv /opt/hypocenter \
 && /opt/hypocenter/bin/pip install --no-cache-dir --constraint constraints.txt ".[fast]"

FROM python:3.13.9-slim-bookworm
COPY --from=build /opt/hypocenter /opt/hypocenter
# The root file system may be read-only: what is written goes to mounted volumes and to /tmp.
ENV PATH=/opt/hypocenter/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["hypocenter"]
CMD ["--help"]
