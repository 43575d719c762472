import type { healthStrings } from "../health.ts";

export const health: Record<keyof typeof healthStrings, string> = {
  media: "Media process|restarted {n} times",
  media_warning:
    "The media process was restarted within ten minutes ({n} times in all)|Pictures come back by themselves; if it repeats, look at the log for its reason",
  media_error:
    "The media process is being started again|Wait a moment; if it stays away, look at the log for its reason",
  storage: "Database|answers in {n} ms",
  storage_warning: "The database is slow ({n} ms)|Look at the load of the disk",
  storage_error:
    "The database does not answer|Look at the disk and at storage.url; calls and pictures go on meanwhile",
  disk: "Data disk|{n} GB free",
  disk_warning: "The data disk is getting full: {n} GB free|Make room on the data folder's disk",
  disk_error:
    "The data disk is nearly full: {n} GB free|Make room on the data folder's disk now, or the server will not start again",
  certificate: "TLS certificate|valid for {n} days",
  certificate_warning:
    "The TLS certificate expires in {n} days|Replace the files of tls.certificate and tls.key; no restart is needed",
  certificate_error:
    "The TLS certificate has expired|Replace the files of tls.certificate and tls.key; no restart is needed",
  clock: "System clock|",
  clock_warning: "This machine's clock was never set|Set it, or start NTP",
  loop: "Control process|held up {n} times so far",
  cameras: "Cameras|{n} without a picture",
  cameras_warning:
    "{n} cameras give no picture|The list of streams says of each how far it came and what to do",
  clients: "Consoles and phones|{n} connections",
  clients_warning:
    "A console or phone that did not keep up was cut off within ten minutes|It comes back by itself; if it repeats look at its network and close tabs on its machine",
  recordings: "Recordings' disk|{n} % free",
  recordings_warning:
    "The recordings' disk is getting full: {n} % free|Make room on the recordings folder's disk, or lower recordings.keep_days",
  recordings_error:
    "The recordings' disk is full or cannot be written ({n} % free)|Look at the disk and owner of recordings.folder, or lower recordings.keep_days; talk goes on",
  bus: "Other nodes (Redis)|connected",
  bus_error:
    "Redis does not answer; this server works alone|Look at the Redis server and at bus.url; the connection comes back by itself",
  loop_warning:
    "The control process was just held up ({n} times so far)|The machine is too busy; the log says what took long",
};
