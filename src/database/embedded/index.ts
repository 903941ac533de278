/**
 * Owns a real PostgreSQL under DATA_DIR for whoever has no other: its programs come from npm, its cluster stays from one
 * start to the next, and any number of processes of this machine may use it at the same time. Refuses what would make it
 * more than a database for development: it listens on 127.0.0.1 only, on a port of its own choice.
 *
 * Who comes first starts it, who leaves last stops it. A *keeper* process (`keeper.ts`) stands between: it alone runs
 * `initdb` and `postgres`, and every user holds a connection to it, which the kernel closes however that user ends. A
 * user that is killed leaves nothing behind; a keeper that is killed is replaced, and the new one adopts the PostgreSQL
 * that still runs; a PostgreSQL that is killed is started again on the same port. No signal handler is installed in the
 * user's process.
 *
 *     <DATA_DIR>/postgres/          the cluster
 *     <DATA_DIR>/postgres.json      its password and port (mode 600)
 *     <DATA_DIR>/postgres-keeper/   who the keeper is, and the secret that admits to it (mode 700)
 *     <DATA_DIR>/postgres.log       what the keeper and PostgreSQL have to say
 *
 * PostgreSQL refuses to run as root. Root's runs as the owner of DATA_DIR, else as `postgres`, else as `nobody`; where
 * that user can't reach the programs or DATA_DIR (a home folder of mode 700), the programs are copied and the cluster is
 * put where it can, below /var/lib, and a line of the log says so.
 */
export { openEmbeddedDatabase } from './open-embedded-database.ts';
