# docker build -t dsjax . && docker run --rm dsjax best
# Files of one's own: docker run --rm -v "$PWD:/data" --user "$(id -u):$(id -g)" dsjax sweep -o space.nc
FROM python:3.11-slim
COPY . /src
RUN pip install --no-cache-dir -c /src/requirements-tested.txt "/src[plot,calibrate,report,zarr]" \
    && rm -rf /src \
    && useradd --create-home dsjax
USER dsjax
# Compiled programs and fonts; writable for any user that --user names.
ENV XDG_CACHE_HOME=/tmp/cache MPLCONFIGDIR=/tmp/cache/matplotlib
WORKDIR /data
ENTRYPOINT ["dsjax"]
CMD ["--help"]
