FROM golang:1.26-bookworm AS build
WORKDIR /src
# Modules change less often than code: a layer of their own.
COPY go.mod go.sum ./
COPY internal/oryx/go.mod internal/oryx/go.sum ./internal/oryx/
COPY sdk/go/go.mod sdk/go/go.sum ./sdk/go/
RUN go mod download
COPY . .
# What `latchkey version` prints: --build-arg VERSION=$(git describe --tags --always) --build-arg COMMIT=$(git rev-parse HEAD)
ARG VERSION
ARG COMMIT
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags="-s -w -X main.release=$VERSION -X main.commit=$COMMIT" -o /out/latchkey ./cmd/latchkey
# An empty folder that the server's user may write to, for an SQLite file.
RUN mkdir /out/data && chown 65532:65532 /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/latchkey /latchkey
COPY --from=build --chown=65532:65532 /out/data /data
# By number, so that an orchestrator can see that it is not root.
USER 65532:65532
WORKDIR /data
# Inside a container loopback is out of everyone's reach.
ENV LATCHKEY_LISTEN=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["/latchkey", "healthcheck"]
ENTRYPOINT ["/latchkey"]
CMD ["serve"]
