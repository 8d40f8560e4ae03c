//! Names and limits of the REST transport and of the upgraded HTTP/2 sessions.

/// TCP port a backup server listens on.
pub const DEFAULT_PORT: u16 = 8007;

/// `Upgrade` value that turns a connection into a writer (backup) session.
pub const WRITER_PROTOCOL: &str = "proxmox-backup-protocol-v1";

/// `Upgrade` value that turns a connection into a reader (restore) session.
pub const READER_PROTOCOL: &str = "proxmox-backup-reader-protocol-v1";

/// Path of the writer upgrade.
pub const WRITER_PATH: &str = "/api2/json/backup";

/// Path of the reader upgrade.
pub const READER_PATH: &str = "/api2/json/reader";

/// Prefix of the `Authorization` value of an API token; one `=` or one blank follows, then `AUTHID:SECRET`.
pub const TOKEN_PREFIX: &str = "PBSAPIToken";

/// Cookie that carries a ticket.
pub const TICKET_COOKIE: &str = "PBSAuthCookie";

/// Cookie that carries a ticket a browser's scripts cannot read; wins over [`TICKET_COOKIE`].
pub const HOST_TICKET_COOKIE: &str = "__Host-PBSAuthCookie";

/// Header that proves a ticket-authenticated, changing request comes from the page that logged in.
pub const CSRF_HEADER: &str = "csrfpreventiontoken";

/// Seconds a ticket is valid after its issue.
pub const TICKET_LIFETIME: i64 = 7200;

/// Seconds a ticket may lie in the future (clock skew between servers).
pub const TICKET_SKEW: i64 = 300;

/// Path plus query may be this long, in bytes, on REST calls.
pub const MAX_URI: usize = 3072;

/// Parsed bodies (JSON, form) must stay below this many bytes.
pub const MAX_PARSED_BODY: usize = 512 * 1024;

/// HTTP/2 frame size both ends announce.
pub const MAX_FRAME: u32 = 4 * 1024 * 1024;

/// Largest HTTP/2 frame a client of ours takes, in bytes: a chunk of 4 MiB that does not compress, with its blob header.
///
/// What fits one frame arrives as one. In two frames it would wait for the first frames of all others on their way, and
/// all of them would be incomplete, and lost, if the line broke then.
pub const CLIENT_MAX_FRAME: u32 = MAX_FRAME + 4096;

/// HTTP/2 header list size the server announces.
pub const MAX_HEADER_LIST: u32 = 16384;

/// HTTP/2 streams the server allows at once.
pub const MAX_STREAMS: u32 = 200;

/// Receive window of the server, per stream and per connection, when few sessions share the budget.
pub const SERVER_WINDOW: u32 = 32 * 1024 * 1024;

/// Receive window of the client, per stream and per connection.
pub const CLIENT_WINDOW: u32 = (1 << 31) - 2;

/// Highest writer id a call accepts; ids start at 1 and are never reused within a session.
pub const MAX_WRITER_ID: u64 = 256;

/// Entries of one index append a careful client sends at most.
pub const APPEND_BATCH: usize = 128;

/// Extension of our own servers, as `GET /version` lists it: a writer session answers `POST known_chunks`.
pub const KNOWN_CHUNKS: &str = "known-chunks";

/// Digests in one `known_chunks` call at most; 274 KiB of JSON, where a server takes 512 KiB.
pub const MAX_KNOWN_CHUNKS: usize = 4096;

/// Extension of our own servers: datastores answer `GET listing-fingerprint`.
pub const LISTING_FINGERPRINT: &str = "listing-fingerprint";
