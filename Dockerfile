# docker build -t entra-access-operator .
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/operator
WORKDIR /src
COPY requirements.lock ./
RUN /opt/operator/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY operator ./operator
# hatchling builds the wheel; it does not go into the image.
RUN python -m venv /opt/build && /opt/build/bin/pip install hatchling \
    && /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/operator/bin/pip install --no-deps /wheels/*.whl \
    && /opt/operator/bin/python -m compileall -q /opt/operator/lib/*/site-packages/entra_access

FROM python:3.13-slim
# The root file system is read-only where it runs, so nothing may want to write bytecode.
ENV PATH=/opt/operator/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /opt/operator /opt/operator
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["entra-access"]
CMD ["run"]
