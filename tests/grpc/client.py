"""A gRPC client that calls the health service of TARGET: a unary call and a stream. Prints a JSON object: who answered each of
them, and the number of messages of the stream; or the error. Usage: client.py TARGET [AUTHORITY]"""

import json
import sys

import grpc

# Empty messages are valid for this service, and need no protocol buffers.
METHOD = "/grpc.health.v1.Health/"
PATIENCE = 20


def answered_by(call):
    return dict(call.initial_metadata()).get("pod", "-")


def main(target, authority=None):
    options = [("grpc.default_authority", authority)] if authority else []
    with grpc.insecure_channel(target, options=options) as channel:
        try:
            _, unary = channel.unary_unary(METHOD + "Check").with_call(b"", timeout=PATIENCE)
            stream = channel.unary_stream(METHOD + "Watch")(b"", timeout=PATIENCE)
            messages = sum(1 for _ in stream)
            return {"unary": answered_by(unary), "stream": answered_by(stream), "messages": messages}
        except grpc.RpcError as error:
            return {"error": error.code().name, "details": error.details()}


print(json.dumps(main(*sys.argv[1:])))
