"""Asks the DNS server at 127.0.0.1:PORT as a resolver does: ask.py PORT NAME [A|AAAA]. RFC 1035."""
import ipaddress, socket, struct, sys

port, name, kind = int(sys.argv[1]), sys.argv[2], {"A": 1, "AAAA": 28}[(sys.argv + ["A"])[3]]
labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
question = struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!B2H", 0, kind, 1)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.settimeout(1)
for _ in range(30):  # Datagrams may be lost, and the server may be starting.
    server.sendto(question, ("127.0.0.1", port))
    try:
        answer = server.recv(512)
    except TimeoutError:
        continue
    _, flags, _, answers, _, _ = struct.unpack("!6H", answer[:12])
    code = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN"][flags & 15]
    print(code, ipaddress.ip_address(answer[-4:] if kind == 1 else answer[-16:]) if answers else "")
    sys.exit()
sys.exit("no answer")
