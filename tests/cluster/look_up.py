"""Looks up each name of the standard input with glibc's getaddrinfo, and prints its addresses."""

import socket
import sys
from concurrent.futures import ThreadPoolExecutor

# What getaddrinfo raises for a name that does not exist, and for one without addresses.
ABSENT = {socket.EAI_NONAME, socket.EAI_NODATA}


def addresses(name):
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in ABSENT:
            return set()
        raise
    except UnicodeError:
        return set()
    return {answer[4][0] for answer in found}


names = sorted(set(sys.stdin.read().split("\n")) - {""})
with ThreadPoolExecutor(16) as pool:
    for name, found in zip(names, pool.map(addresses, names)):
        print(name, " ".join(sorted(found)), sep="\t")
