# docker build -t entra-access-operator .
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/operator
COPY requirements.lock /src/
RUN /opt/operator/bin/pip install --require-hashes -r /src/requirements.lock
COPY operator/entra_access /opt/app/entra_access
RUN /opt/operator/bin/python -m compileall -q /opt/app

FROM python:3.13-slim
# The root file system is read-only where it runs, so nothing may want to write bytecode.
ENV PATH=/opt/operator/bin:$PATH PYTHONPATH=/opt/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /opt/operator /opt/operator
COPY --from=build /opt/app /opt/app
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["python", "-m", "entra_access.cli"]
CMD ["run"]
