"""The two ways to a server of the Open Inference Protocol v2: gRPC and HTTP. Blocking, for threads."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import grpc
import httpx
import numpy as np
from numpy.typing import NDArray

from inference import grpc_service_pb2 as pb
from inference import grpc_service_pb2_grpc
from trimtab_common.domain.errors import DeadlineExceeded
from trimtab_scoring.engine import EngineFailed
from trimtab_scoring.remote.file import RemoteSpec, Tensor
from trimtab_scoring.remote.plan import Filled, RemoteModelMismatch, RemoteUnavailable
from trimtab_scoring.tensors import DTYPES, typed_elements

_MAX_ANSWER_BYTES = 64 * 1024 * 1024
_GONE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
_SHOWN = 300
Outputs = Mapping[str, NDArray[np.float64]]


class RemoteTimedOut(DeadlineExceeded):
    """The server of a remote engine is too slow."""

    reason = "REMOTE_ENGINE_TIMED_OUT"


class Client(Protocol):
    """Asks one server about one model. Raises RemoteUnavailable, RemoteTimedOut, EngineFailed."""

    def inputs(self, timeout_s: float) -> tuple[Tensor, ...]:
        """What the server says of the model's inputs."""

    def infer(self, inputs: Sequence[Filled], timeout_s: float) -> Outputs:
        """The outputs by name, as floats, in the shape that the server gives."""

    def close(self) -> None:
        """Ends the connections."""


def connect(spec: RemoteSpec) -> Client:
    """The client for this engine; nothing is sent before the first question."""
    return _GrpcClient(spec) if spec.protocol == "grpc" else _HttpClient(spec)


class _GrpcClient:
    def __init__(self, spec: RemoteSpec) -> None:
        self._spec = spec
        options = (
            ("grpc.max_receive_message_length", _MAX_ANSWER_BYTES),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 2_000),
            ("grpc.enable_http_proxy", 0),
        )
        if spec.is_encrypted:
            roots = Path(spec.ca_file).read_bytes() if spec.ca_file else None
            credentials = grpc.ssl_channel_credentials(root_certificates=roots)
            self._channel = grpc.secure_channel(spec.target, credentials, options=options)
        else:
            self._channel = grpc.insecure_channel(spec.target, options=options)
        self._stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def inputs(self, timeout_s: float) -> tuple[Tensor, ...]:
        request = pb.ModelMetadataRequest(name=self._spec.model, version=self._spec.version)
        answer = self._call(self._stub.ModelMetadata, request, timeout_s)
        return tuple(
            Tensor(name=one.name, datatype=one.datatype, shape=tuple(one.shape))
            for one in answer.inputs
        )

    def infer(self, inputs: Sequence[Filled], timeout_s: float) -> Outputs:
        request = pb.ModelInferRequest(
            model_name=self._spec.model,
            model_version=self._spec.version,
            outputs=[
                pb.ModelInferRequest.InferRequestedOutputTensor(name=name)
                for name in self._spec.outputs
            ],
        )
        for filled in inputs:
            request.inputs.add(
                name=filled.tensor.name,
                datatype=filled.tensor.datatype,
                shape=filled.values.shape,
            )
            request.raw_input_contents.append(filled.values.tobytes())
        answer = self._call(self._stub.ModelInfer, request, timeout_s)
        raw = list(answer.raw_output_contents)
        if raw and len(raw) != len(answer.outputs):
            raise RemoteModelMismatch(
                f"Remote engine {self._spec.name} gave {len(raw)} raw contents for"
                f" {len(answer.outputs)} outputs."
            )
        found: dict[str, NDArray[np.float64]] = {}
        for position, output in enumerate(answer.outputs):
            if self._spec.outputs and output.name not in self._spec.outputs:
                continue
            dtype = _dtype(self._spec, output.name, output.datatype)
            if raw:
                values = _from_bytes(self._spec, output.name, raw[position], dtype)
            else:
                values = typed_elements(output.contents, output.datatype)
            found[output.name] = _shaped(self._spec, output.name, values, output.shape)
        return found

    def close(self) -> None:
        self._channel.close()

    def _call(self, method: Any, request: Any, timeout_s: float) -> Any:
        metadata = tuple((key.lower(), value) for key, value in _headers(self._spec).items())
        try:
            return method(request, timeout=timeout_s, metadata=metadata)
        except grpc.RpcError as error:
            code, text = error.code(), (error.details() or "")[:_SHOWN]
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise _slow(self._spec) from None
            if code in _GONE:
                raise _gone(self._spec, text) from None
            raise _refused(self._spec, f"{code.name}: {text}") from None


class _HttpClient:
    def __init__(self, spec: RemoteSpec) -> None:
        self._spec = spec
        version = f"/versions/{spec.version}" if spec.version else ""
        self._path = f"{spec.target}/v2/models/{spec.model}{version}"
        verify: Any = True
        if spec.ca_file:
            import ssl  # noqa: PLC0415, only for a private authority

            verify = ssl.create_default_context(cafile=spec.ca_file)
        self._client = httpx.Client(verify=verify, trust_env=False, follow_redirects=False)

    def inputs(self, timeout_s: float) -> tuple[Tensor, ...]:
        answer = self._call("GET", self._path, None, timeout_s)
        try:
            return tuple(
                Tensor(
                    name=str(one["name"]),
                    datatype=str(one["datatype"]),
                    shape=tuple(int(size) for size in one["shape"]),
                )
                for one in answer.get("inputs") or ()
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            raise _refused(self._spec, "its metadata is not of the protocol") from None

    def infer(self, inputs: Sequence[Filled], timeout_s: float) -> Outputs:
        body = {
            "inputs": [
                {
                    "name": filled.tensor.name,
                    "datatype": filled.tensor.datatype,
                    "shape": list(filled.values.shape),
                    "data": filled.values.ravel().tolist(),
                }
                for filled in inputs
            ],
            **(
                {"outputs": [{"name": name} for name in self._spec.outputs]}
                if self._spec.outputs
                else {}
            ),
        }
        answer = self._call("POST", f"{self._path}/infer", body, timeout_s)
        found: dict[str, NDArray[np.float64]] = {}
        try:
            for output in answer["outputs"]:
                name = str(output["name"])
                if self._spec.outputs and name not in self._spec.outputs:
                    continue
                _dtype(self._spec, name, str(output["datatype"]))
                values = np.asarray(output["data"], dtype=np.float64).ravel()
                found[name] = _shaped(self._spec, name, values, output["shape"])
        except (AttributeError, KeyError, TypeError, ValueError):
            raise _refused(self._spec, "its answer is not of the protocol") from None
        return found

    def close(self) -> None:
        self._client.close()

    def _call(self, method: str, url: str, body: Any, timeout_s: float) -> Any:
        until = time.monotonic() + timeout_s
        content = bytearray()
        try:
            with self._client.stream(
                method, url, json=body, headers=_headers(self._spec), timeout=timeout_s
            ) as answer:
                for chunk in answer.iter_bytes():
                    content += chunk
                    if time.monotonic() > until:
                        raise _slow(self._spec)
                    if len(content) > _MAX_ANSWER_BYTES:
                        raise _refused(self._spec, "its answer is too long")
        except httpx.TimeoutException:
            raise _slow(self._spec) from None
        except httpx.HTTPError as error:
            raise _gone(self._spec, f"{type(error).__name__}: {error}"[:_SHOWN]) from None
        if answer.status_code in (502, 503, 504):
            raise _gone(self._spec, f"HTTP {answer.status_code}")
        if not answer.is_success:
            text = content.decode(errors="replace")[:_SHOWN]
            raise _refused(self._spec, f"HTTP {answer.status_code}: {text}")
        try:
            return json.loads(content)
        except ValueError:
            raise _refused(self._spec, "its answer is not JSON") from None


def _headers(spec: RemoteSpec) -> dict[str, str]:
    headers = dict(spec.headers)
    if spec.token_file:
        try:
            token = Path(spec.token_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise EngineFailed(
                f"The token file of remote engine {spec.name} cannot be read: {error.strerror}."
            ) from None
        headers["authorization"] = f"Bearer {token}"
    return headers


def _dtype(spec: RemoteSpec, name: str, datatype: str) -> np.dtype[Any]:
    if datatype not in DTYPES:
        raise RemoteModelMismatch(
            f"Output {name} of remote engine {spec.name} is {datatype}, no numbers; name in the file"
            " the `outputs` that make the scores."
        )
    return np.dtype(DTYPES[datatype])


def _from_bytes(
    spec: RemoteSpec, name: str, raw: bytes, dtype: np.dtype[Any]
) -> NDArray[np.float64]:
    if len(raw) % dtype.itemsize:
        raise RemoteModelMismatch(
            f"Output {name} of remote engine {spec.name} has {len(raw)} bytes, no whole number of"
            f" elements of {dtype.itemsize}."
        )
    return np.frombuffer(raw, dtype=dtype).astype(np.float64)


def _shaped(
    spec: RemoteSpec, name: str, values: NDArray[np.float64], shape: Sequence[int]
) -> NDArray[np.float64]:
    try:
        return values.reshape(tuple(int(size) for size in shape))
    except (TypeError, ValueError):
        raise RemoteModelMismatch(
            f"Output {name} of remote engine {spec.name} has {values.size} elements and the shape"
            f" {list(shape)}."
        ) from None


def _slow(spec: RemoteSpec) -> RemoteTimedOut:
    return RemoteTimedOut(
        f"Remote engine {spec.name} did not answer within {spec.timeout_s:.3g} s ({spec.target})."
    )


def _gone(spec: RemoteSpec, text: str) -> RemoteUnavailable:
    return RemoteUnavailable(
        f"The server of remote engine {spec.name} cannot be reached ({spec.target}): {text}."
    )


def _refused(spec: RemoteSpec, text: str) -> EngineFailed:
    return EngineFailed(
        f"The server of remote engine {spec.name} failed for model {spec.model}: {text}."
    )
