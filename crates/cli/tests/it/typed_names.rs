//! `byname explain` takes names as people type and paste them.

use crate::run::{Run, byname_with_input};

const CLUSTER: &str = "
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: pay, namespace: shop}
  spec: {clusterIP: 10.0.0.1, ports: [{name: grpc, port: 9000}, {name: http, port: 80}, {name: https, port: 443}]}
- {apiVersion: v1, kind: Service, metadata: {name: redis, namespace: data}, spec: {clusterIP: 10.0.0.2, ports: [{port: 6379}]}}
";

fn explain(name: &str) -> Run {
    byname_with_input(&["explain", name, "-n", "shop"], CLUSTER.as_bytes())
}

/// Each text with the name that is explained, the first words of the answer, and a part of its notes.
#[test]
fn typed_names_are_explained() {
    let (grpc, http, https) = ("reachable: Service shop/pay, port 9000", "port 80 (http)", "port 443 (https)");
    let redis = "reachable: Service data/redis, port 6379";
    for (typed, name, answer, note) in [
        ("dns:///pay:9000", "pay:9000", grpc, ""),
        ("dns:pay:9000", "pay:9000", grpc, ""),
        ("dns:///pay", "pay", https, "gRPC connects to port 443"),
        ("DNS:///pay", "pay", https, "gRPC connects to port 443"),
        ("passthrough:///pay:9000", "pay:9000", grpc, ""),
        ("dns://10.96.0.10/pay:9000", "pay:9000", grpc, "10.96.0.10 is the DNS server"),
        ("dns://pay:9000", "pay:9000", grpc, "write dns:///pay:9000"),
        ("xds:///pay:9000", "pay:9000", grpc, "xDS control plane"),
        ("ipv4:10.0.0.1:9000,10.0.0.9:9000", "10.0.0.1:9000", grpc, "10.0.0.9:9000"),
        ("ipv6:%5Bfd00::1%5D:80", "[fd00::1]:80", "passed on as it came", ""),
        // A host and its port, although `dns:` and `unix:` are schemes as well.
        ("dns:53", "dns:53", "passed on as it came", ""),
        ("unix:80", "unix:80", "passed on as it came", ""),
        (" pay ", "pay", http, "white space around the name"),
        ("svc/pay", "pay", http, "clients write pay"),
        ("service/pay:9000", "pay:9000", grpc, "clients write pay"),
        ("svc/redis.data:6379", "redis.data:6379", redis, "clients write redis.data for the Service"),
        (
            "data/redis:6379",
            "redis.data:6379",
            redis,
            "clients write redis.data for the Service redis in namespace data",
        ),
        ("pay:9000/health", "pay:9000", grpc, ""),
        ("pay/health", "pay", http, "the input has no namespace pay"),
        ("//pay/path", "pay", http, ""),
        ("//user:secret@pay:9000", "pay:9000", grpc, ""),
        ("http://user:secret@pay/path?q#f", "pay", http, ""),
        ("HTTPS://pay", "pay", https, ""),
        // The port of a URL may be empty.
        ("http://pay:", "pay", http, ""),
        ("https://user:secret@pay:/path", "pay", https, ""),
        ("http://[fd00::1]:/", "[fd00::1]", "passed on as it came", ""),
        ("redis://redis.data:/0", "redis.data:6379", redis, "redis is not HTTP"),
        (
            "other/svc/pay",
            "other",
            "passed on as it came",
            "no namespace other; for a Service in a namespace, write pay.other",
        ),
        ("http://pay:9000,http://other:1", "pay:9000", grpc, "by themselves: other:1"),
        ("pay:9000,b:9092,c:9092", "pay:9000", grpc, "by themselves: b:9092, c:9092"),
        ("mongodb://user:secret@pay:9000,b:2/db", "pay:9000", grpc, "by themselves: b:2"),
        ("mongodb+srv://db.data/x", "db.data:27017", "passed on as it came", "SRV records of db.data"),
        ("amqp://user:secret@pay:9000/vhost", "pay:9000", grpc, "amqp is not HTTP"),
        ("redis://redis.data/0", "redis.data:6379", redis, "redis is not HTTP"),
        ("postgresql+psycopg2://db/x", "db:5432", "passed on as it came", "is not HTTP"),
        ("jdbc:postgresql://db:5433/x", "db:5433", "passed on as it came", "is not HTTP"),
        ("jdbc:sqlserver://db;database=x", "db:1433", "passed on as it came", "is not HTTP"),
        ("jdbc:oracle:thin:@db:1521:sid", "db:1521", "passed on as it came", "is not HTTP"),
        ("jdbc:mysql:loadbalance://a:1,b/x", "a:1", "passed on as it came", "is not HTTP"),
        ("user:secret@tcp(redis.data:6379)/db?a=b", "redis.data:6379", redis, "mysql is not HTTP"),
        ("mysql://user:secret@tcp(db)/x", "db:3306", "passed on as it came", "mysql is not HTTP"),
        ("tcp://pay", "pay", http, "tcp has no default port"),
        ("lb://pay", "pay", http, "the default port of lb is unknown"),
        ("fd00::1", "[fd00::1]", "passed on as it came", "in brackets: [fd00::1]"),
        ("www.example.com", "www.example.com", "passed on as it came: the table has no such name", ""),
    ] {
        let run = explain(typed);
        assert_eq!(run.status, 0, "{typed}\n{}", run.shown());
        let mut lines = run.stdout.lines();
        assert_eq!(lines.next(), Some(&*format!("{name} from namespace shop")), "{typed}");
        assert!(lines.next().is_some_and(|line| line.contains(answer)), "{typed} lacks {answer:?}\n{}", run.stdout);
        assert!(run.stdout.contains(note), "{typed} lacks {note:?}\n{}", run.stdout);
        assert!(!run.stdout.contains("secret"), "{typed} repeats a password\n{}", run.stdout);
    }
}

#[test]
fn names_without_a_host_are_errors_with_a_way_out() {
    for (typed, part) in [
        ("", "the name is empty; pass the host that the client connects to"),
        ("  ", "the name is empty"),
        (":8080", "the name has no host"),
        ("/path", "the name has no host"),
        ("dns:///", "the address has no host"),
        ("k8s:///pay.shop:grpc", "the address has no host between // and the next /"),
        ("///path", "the name has no host between // and the next /"),
        ("redis:///0", "the address has no host"),
        ("http://user:secret@/path", "the address has no host"),
        ("jdbc:h2:mem:test", "the address has no host"),
        ("unix:/run/app.sock", "unix: has no host, and its connections do not pass through Envoy"),
        ("unix:///run/app.sock", "pass the name of a Service"),
        ("file:///etc/hosts", "file: has no host"),
        ("pod/web-0", "only Services have names that clients use"),
        ("data/svc/redis", "data/svc/redis is not a name; for the Service redis in namespace data, pass redis.data"),
        ("data/deploy/redis", "only Services have names that clients use"),
    ] {
        let run = explain(typed);
        assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{typed}");
        assert!(run.stderr.contains(part) && !run.stderr.contains("secret"), "{typed}: {}", run.stderr);
    }
}

#[test]
fn an_invalid_host_header_is_refused_with_a_hint() {
    for typed in ["a b", "10.1", "user@db:3306/x", "host=db port=5432", "pay:80:80", "[pay]"] {
        let run = explain(typed);
        assert_eq!(run.status, 1, "{typed}");
        assert!(run.stdout.contains("pass only the host and port"), "{typed}\n{}", run.stdout);
    }
}
