//! URI schemes, as clients have them in their configuration.

/// What a scheme says of the address behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UriScheme {
    /// A protocol over HTTP.
    Http { is_tls: bool },
    /// A gRPC target: the endpoint is the path, and the authority is a name server.
    Grpc,
    /// Another protocol over TCP or UDP, with its default port.
    NotHttp { port: Option<u16> },
    /// A socket or file of the client's machine.
    Socket,
    /// An unknown scheme.
    Other,
}

/// The default ports of protocols that are not HTTP, from IANA's registry or from the products' documentation.
const NOT_HTTP: [(&str, u16); 51] = [
    ("amqp", 5672),
    ("amqps", 5671),
    ("bolt", 7687),
    ("cassandra", 9042),
    ("cockroachdb", 26257),
    ("couchbase", 11210),
    ("couchbases", 11207),
    ("db2", 50000),
    ("ftp", 21),
    ("ftps", 990),
    ("imap", 143),
    ("imaps", 993),
    ("kafka", 9092),
    ("ldap", 389),
    ("ldaps", 636),
    ("mariadb", 3306),
    ("memcache", 11211),
    ("memcached", 11211),
    ("mongodb", 27017),
    ("mongodb+srv", 27017),
    ("mqtt", 1883),
    ("mqtts", 8883),
    ("mssql", 1433),
    ("mysql", 3306),
    ("mysqlx", 33060),
    ("nats", 4222),
    ("neo4j", 7687),
    ("oracle", 1521),
    ("pgsql", 5432),
    ("plaintext", 9092),
    ("postgres", 5432),
    ("postgresql", 5432),
    ("pulsar", 6650),
    ("pulsar+ssl", 6651),
    ("redis", 6379),
    ("redis-sentinel", 26379),
    ("rediss", 6379),
    ("sasl_plaintext", 9092),
    ("sasl_ssl", 9092),
    ("sftp", 22),
    ("smtp", 25),
    ("smtps", 465),
    ("sqlserver", 1433),
    ("ssh", 22),
    ("statsd", 8125),
    ("stomp", 61613),
    ("syslog", 514),
    ("valkey", 6379),
    ("valkeys", 6379),
    ("zk", 2181),
    ("zookeeper", 2181),
];

/// The kind of a scheme, case ignored. Drivers are left out: `postgresql+psycopg2` is `postgresql`.
pub(super) fn kind_of(scheme: &str) -> UriScheme {
    let scheme = scheme.to_ascii_lowercase();
    let (protocol, driver) = scheme.split_once('+').unwrap_or((&scheme, ""));
    if driver == "unix" {
        return UriScheme::Socket;
    }
    let port = |name: &str| NOT_HTTP.iter().find(|(known, _)| *known == name).map(|(_, port)| *port);
    if let Some(port) = port(&scheme).or_else(|| port(protocol)) {
        return UriScheme::NotHttp { port: Some(port) };
    }
    match protocol {
        "http" | "ws" | "h2c" | "grpc" => UriScheme::Http { is_tls: false },
        "https" | "wss" | "h2" | "grpcs" => UriScheme::Http { is_tls: true },
        "dns" | "passthrough" | "xds" | "google-c2p" | "ipv4" | "ipv6" | "kubernetes" => UriScheme::Grpc,
        "unix" | "unix-abstract" | "vsock" | "file" | "npipe" => UriScheme::Socket,
        "tcp" | "tls" | "ssl" | "udp" => UriScheme::NotHttp { port: None },
        _ => UriScheme::Other,
    }
}
