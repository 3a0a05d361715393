"""A gRPC server with the health service, on a free port of loopback, which it prints. A header of its answers has its name.
It ends with its standard input. Usage: server.py NAME"""

import sys
from concurrent import futures

import grpc

METHOD = "/grpc.health.v1.Health/"
MESSAGES = 3


class Health(grpc.GenericRpcHandler):
    def __init__(self, name):
        self.name = name

    def service(self, details):
        def check(_, context):
            context.send_initial_metadata([("pod", self.name)])
            return b""

        def watch(_, context):
            context.send_initial_metadata([("pod", self.name)])
            for _ in range(MESSAGES):
                yield b""

        if details.method == METHOD + "Check":
            return grpc.unary_unary_rpc_method_handler(check)
        if details.method == METHOD + "Watch":
            return grpc.unary_stream_rpc_method_handler(watch)
        return None


server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
server.add_generic_rpc_handlers([Health(sys.argv[1])])
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
sys.stdin.read()
