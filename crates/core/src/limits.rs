//! Every bound of the project, with its unit last in the name.
//!
//! A configuration that exceeds a bound gets a [`FieldError`](crate::FieldError), a request a [`Reason`](crate::Reason).
//! Nothing in `core` grows without a bound. This file depends on nothing.

/// A DNS label, RFC 1035 section 2.3.4.
pub const MAX_LABEL_BYTES: usize = 63;
/// A DNS name in text form without its trailing dot, RFC 1035 section 2.3.4.
pub const MAX_NAME_BYTES: usize = 253;
/// The cluster domain: short enough that the name of any Service is still a name.
pub const MAX_ZONE_BYTES: usize = MAX_NAME_BYTES - ".svc.".len() - (2 * MAX_LABEL_BYTES + 1);
/// An `:authority`: a name, its dot, and a port. Longer input cannot be an authority.
pub const MAX_AUTHORITY_BYTES: usize = MAX_NAME_BYTES + 1 + 6;
/// `options ndots` is capped here by resolvers, resolv.conf(5).
pub const MAX_NDOTS: u8 = 15;
/// Search domains of one pod, as the Kubernetes API validates `dnsConfig.searches`.
pub const MAX_SEARCH_DOMAINS: usize = 32;
/// Aliases followed for one request.
pub const MAX_ALIAS_HOPS: usize = 10;
/// What a server is asked for on behalf of one request.
pub const MAX_REQUEST_KEYS: usize = 64;
/// Fallbacks followed for one request.
pub const MAX_FALLBACK_HOPS: usize = 4;
/// Entries of `externalNames.allow`.
pub const MAX_ALLOWED_HOSTS: usize = 1_024;
/// Ports of one entry of `externalNames.allow`.
pub const MAX_ALLOWED_PORTS: usize = 64;
/// Entries of `externalNames.grants`.
pub const MAX_GRANTS: usize = 4_096;
/// Keys that one stream to a server is subscribed to: Services and addresses. The least missed go first.
pub const MAX_KEYS: usize = 20_000;
/// Namespaces with a Service that a caller may see, as a server names them.
pub const MAX_NAMESPACES: usize = 20_000;
/// How long a request waits for a server.
pub const MAX_WAIT_MILLISECONDS: u64 = 300;
/// Requests of one VM that wait for a server.
pub const MAX_WAITING_REQUESTS: usize = 1_000;
/// A message of a server.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// The version of a resource in a message of a server.
pub const MAX_VERSION_BYTES: usize = 64;
/// Between two looks at which keys are used.
pub const SWEEP_MILLISECONDS: u64 = 10 * 60_000;
/// Looks that find a key unused before it is unsubscribed.
pub const MAX_UNUSED_SWEEPS: u8 = 3;
/// Bytes of a configuration that are read in one slice.
pub const SLICE_BYTES: usize = 64 << 10;
/// Attempts to read a first configuration without the Services that cannot be taken.
pub const MAX_FIRST_READS: usize = 16;
/// Services of one table.
pub const MAX_SERVICES: usize = 100_000;
/// Ports of one Service.
pub const MAX_SERVICE_PORTS: usize = 256;
/// Cluster IPs of one Service: one for each IP family.
pub const MAX_CLUSTER_IPS: usize = 2;
/// Groups of endpoints of one Service.
pub const MAX_ENDPOINT_GROUPS: usize = 4_096;
/// Endpoints of one Service.
pub const MAX_SERVICE_ENDPOINTS: usize = 20_000;
/// Weight of an endpoint.
pub const MAX_ENDPOINT_WEIGHT: u32 = 1_000;
/// Labels of a group of endpoints, and of a subset.
pub const MAX_ENDPOINT_LABELS: usize = 16;
/// Subsets of one Service.
pub const MAX_SUBSETS: usize = 64;
/// Weight of a subset.
pub const MAX_SUBSET_WEIGHT: u32 = 1_000_000;
/// The time for which an endpoint is first ejected.
pub const MAX_EJECTION_TIME_SECONDS: u32 = 3_600;
/// The time for which an endpoint is ejected, however often it was ejected before.
pub const MAX_EJECTION_NANOSECONDS: u64 = MAX_EJECTION_TIME_SECONDS as u64 * 1_000_000_000;
/// Entries that one worker remembers: Service ports with a round-robin turn, and endpoints with open requests or failures.
pub const MAX_BALANCED: usize = 65_536;
/// Ports times groups of endpoints times subsets of one Service: 16 bytes each.
pub const MAX_SERVICE_SHARES: usize = 65_536;
/// The sum over one table of what [`MAX_SERVICE_SHARES`] bounds.
pub const MAX_TABLE_SHARES: usize = 2_000_000;
/// Entries of any list or object in a configuration that has no bound of its own.
pub const MAX_ENTRIES: usize = 4_096;
/// Endpoints of one table.
pub const MAX_TABLE_ENDPOINTS: usize = 1_000_000;
/// A cluster name template.
pub const MAX_TEMPLATE_BYTES: usize = 256;
/// A header name in a configuration.
pub const MAX_HEADER_NAME_BYTES: usize = 64;
/// Services that get a counter of their own. Envoy never removes a counter.
pub const MAX_COUNTED_SERVICES: u32 = 1_000;
/// A trace in a header.
pub const MAX_TRACE_HEADER_BYTES: usize = 4_096;
/// Log lines that requests may cause at once in one VM; after them there is one a second.
pub const MAX_LOG_BURST_LINES: u64 = 10;
/// A client's authority as a local reply, a trace and the log repeat it.
pub const MAX_SHOWN_AUTHORITY_BYTES: usize = 128;
/// A refused value as an error repeats it.
pub const MAX_QUOTED_CHARS: usize = 80;
/// A key as the path of an error repeats it: a Service's namespace and name always fit.
pub const MAX_KEY_CHARS: usize = 2 * MAX_LABEL_BYTES + 1;
/// The words of the JSON parser as an error repeats them.
pub const MAX_SYNTAX_ERROR_CHARS: usize = 400;
/// Ports of a Service as a local reply or a trace lists them.
pub const MAX_LISTED_PORTS: usize = 16;
/// Errors that are listed when a configuration is refused; the rest are counted.
pub const MAX_LISTED_ERRORS: usize = 20;
/// A whole configuration, as pushed.
pub const MAX_CONFIGURATION_BYTES: usize = 64 << 20;
