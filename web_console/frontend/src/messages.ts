/** Made by `python -m server.signalling.schema`; do not edit. Times: s since 1970 UTC. */

export const SCHEMA = 1;

/** `name` as people gave it; `permissions`: actions of `server.auth.permissions`. */
export interface User {
  id: string;
  name: string;
  role: string;
  permissions: string[];
}

/** `time`: the server's clock; `media`: the media process is up. */
export interface ServerInfo {
  name: string;
  level: string;
  version: string;
  time: number;
  media: boolean;
  drill: boolean;
}

/** Answer to the client's hello. `resumed`: the deltas since the client's rev follow, else a snapshot does. */
export interface Hello {
  type: "hello";
  schema: number;
  rev: number;
  resumed: boolean;
  client: string;
  user: User;
  server: ServerInfo;
  stream: string;
}

/** WGS 84 degrees; accuracy m; heading degrees clockwise from north; speed m/s. None = not known. */
export interface Position {
  lat: number;
  lon: number;
  accuracy: number | null;
  time: number;
  altitude: number | null;
  heading: number | null;
  speed: number | null;
}

/** A person, vehicle, drone or post on the map. */
export interface Unit {
  id: string;
  name: string;
  kind: string;
  number: number;
  position: Position | null;
}

/** A credential of a unit: one phone, agent, body cam or camera. */
export interface Device {
  id: string;
  unit: string;
  name: string;
  kind: string;
  online: boolean;
  lastSeen: number | null;
  battery: number | null;
  charging: boolean | null;
  network: string;
  revoked: boolean;
}

/** One simulcast layer as it arrives: size in pixels, bitrate in bit/s. */
export interface StreamLayer {
  rid: string;
  codec: string;
  width: number;
  height: number;
  live: boolean;
  bitrate: number;
  framesPerSecond: number;
  loss: number;
}

/** One step of the onboarding ladder. */
export interface Step {
  name: string;
  at: number | null;
}

/** A channel of a device; its id survives re-publishing. */
export interface Stream {
  id: string;
  device: string;
  unit: string;
  channel: string;
  name: string;
  state: string;
  since: number;
  via: string;
  layers: StreamLayer[];
  audio: string;
  audioLive: boolean;
  viewers: number;
  steps: Step[];
  cause: string;
  detail: string;
  remote: string;
  tcp: boolean;
}

/** A link that lets one phone join without an account. The address with its secret is told once, on creation. */
export interface JoinLink {
  id: string;
  unit: string;
  name: string;
  created: number;
  expires: number;
  createdBy: string;
  used: number | null;
  revoked: boolean;
}

/** One line of /health: a part of the server, how it is, and the plain remedy. */
export interface HealthRow {
  id: string;
  name: string;
  state: string;
  detail: string;
  remedy: string;
  value: number | null;
  unit: string;
  at: number;
}

/** Everything the client may see of the kinds it wants, as of `rev`. */
export interface Snapshot {
  type: "snapshot";
  rev: number;
  units: Unit[];
  devices: Device[];
  streams: Stream[];
  links: JoinLink[];
  health: HealthRow[];
}

/** `value` None = gone. */
export interface Change {
  kind: "unit" | "device" | "stream" | "link" | "health";
  id: string;
  value: Entities[Kind] | null;
}

/** What became different up to `rev`. */
export interface Delta {
  type: "delta";
  rev: number;
  changes: Change[];
}

/** Why a command failed: stable code, English sentence, the field it is about, seconds to wait. */
export interface Problem {
  code: string;
  message: string;
  field: string;
  retryAfter: number;
}

/** The one answer to a command; `result` is as RESULTS says, null when it failed. */
export interface Reply {
  type: "reply";
  id: string;
  ok: boolean;
  result: unknown;
  error: Problem | null;
}

/** What the relay sends into one of this tab's slots. */
export interface SlotChanged {
  type: "slot";
  slot: number;
  state: string;
  stream: string | null;
  layer: string;
  height: number;
  reason: string;
  degraded: string;
}

/** What becomes of this client's media session: signalled, ice, dtls, path, lost, closed. */
export interface MediaStep {
  type: "media";
  session: string;
  step: string;
  detail: string;
}

/** Answer to a ping: its `t`, and the server's clock. */
export interface Pong {
  type: "pong";
  t: number;
  time: number;
}

/** Last message before the server closes; `reason`: see PROTOCOL.md "Goodbye reasons". */
export interface Goodbye {
  type: "goodbye";
  reason: string;
}

/** Which m-sections of the answer carry a slot. */
export interface SlotInfo {
  slot: number;
  audioMid: string;
  videoMid: string;
}

/** Result of media.offer. `session` is secret: it names the media connection in later commands. */
export interface MediaAnswer {
  session: string;
  sdp: string;
  slots: SlotInfo[];
}

/** Result of link.create; `url` and `qrSvg` (of the url) hold the secret and are told this once. */
export interface LinkCreated {
  link: JoinLink;
  url: string;
  qrSvg: string;
}

/** `field` of the report and what is wrong with it. */
export interface RefusedPosition {
  key: string;
  field: string;
  message: string;
}

/**
 * Result of position.report. `stored`: how many are on disk now, those that already were included; `refused`:
 * impossible ones, which need not be sent again.
 */
export interface PositionsStored {
  stored: number;
  refused: RefusedPosition[];
}

/** One act: who did what to what, with what result ("ok" or an error code), from where. */
export interface AuditEntry {
  seq: number;
  time: number;
  actor: string;
  action: string;
  object: string;
  result: string;
  address: string;
  detail: string;
  hash: string;
}

/**
 * Result of audit.read, newest first. `verified`: the whole chain of hashes holds; else `firstBad` is the first
 * entry that does not and `problem` says why.
 */
export interface AuditPage {
  entries: AuditEntry[];
  verified: boolean;
  firstBad: number;
  problem: string;
}

/** A log-in session. `id` grants nothing; `current`: the caller's own. */
export interface LogIn {
  id: string;
  user: string;
  name: string;
  role: string;
  created: number;
  lastSeen: number;
  address: string;
  agent: string;
  current: boolean;
}

/** Result of session.list, newest first. */
export interface LogIns {
  sessions: LogIn[];
}

export interface Entities {
  unit: Unit;
  device: Device;
  stream: Stream;
  link: JoinLink;
  health: HealthRow;
}
export type Kind = keyof Entities;

/** First message. `token`: a join link's secret (phone); without it the cookie of the WebSocket request counts. */
export interface HelloClient {
  type: "hello";
  schema: number;
  client: string;
  token?: string;
  rev?: number;
  want?: string[];
}

/** Sent every 2 s; `t` comes back in the pong. */
export interface Ping {
  type: "ping";
  t: number;
}

/** What one slot should show. `stream` None empties it; `height` of the tile in pixels, 0 = keep but pause. */
export interface Wish {
  slot: number;
  stream: string | null;
  height?: number;
  priority?: number;
  audio?: boolean;
}

/** As `Position`, with the client's own id of the report. */
export interface ReportedPosition {
  key: string;
  lat: number;
  lon: number;
  time: number;
  accuracy?: number | null;
  altitude?: number | null;
  heading?: number | null;
  speed?: number | null;
}

export type ServerMessage = Hello | Snapshot | Delta | Reply | SlotChanged | MediaStep | Pong | Goodbye;

/** Fields of each command beside `type` and `id`, and what its reply carries. */
export interface Commands {
  /**
   * Offer of a browser. kind "console": sections in (audio, video) pairs per slot, recvonly; "phone": publishes
   * the client's own stream. `session`: an earlier answer's, for more slots or an ICE restart.
   */
  "media.offer": {
    fields: { kind: "console" | "phone"; sdp: string; session?: string };
    result: MediaAnswer;
  };
  /** Close the client's media connection. */
  "media.close": {
    fields: { session: string };
    result: null;
  };
  /** Change what the named slots show; the others stay as they are. */
  "slot.set": {
    fields: { session: string; wishes: Wish[] };
    result: null;
  };
  /** What the viewer's eyes get: first frame shown, frozen, or shown again. Feeds the ladder's last step. */
  "slot.shown": {
    fields: { session: string; slot: number; stream: string; state: "shown" | "frozen" };
    result: null;
  };
  /** A join link that makes a phone of a unit: of `unit`, or of the unit called `name`, new if there is none. */
  "link.create": {
    fields: { name: string; hours?: number | null; unit?: string };
    result: LinkCreated;
  };
  /** Ends a join link, its phone's media and connection. */
  "link.revoke": {
    fields: { link: string };
    result: null;
  };
  /** Ends a stream's publisher (it may come back); needs a reason, is audited. */
  "stream.close": {
    fields: { stream: string; reason: string };
    result: null;
  };
  /** Gives a unit another name. */
  "unit.rename": {
    fields: { unit: string; name: string };
    result: null;
  };
  /** A phone's positions, oldest first, <= 100; `key` of each is its client id: sent twice, stored once. */
  "position.report": {
    fields: { positions: ReportedPosition[] };
    result: PositionsStored;
  };
  /** A phone's own state for its unit's card. `battery` in percent. */
  "phone.state": {
    fields: { battery?: number | null; charging?: boolean | null; network?: string };
    result: null;
  };
  /** The newest audit entries before a sequence number (0 = from the end); admin only; itself audited. */
  "audit.read": {
    fields: { before?: number; limit?: number };
    result: AuditPage;
  };
  /** The caller's own log-in sessions (an admin: everybody's). */
  "session.list": {
    fields: Record<never, never>;
    result: LogIns;
  };
  /** Ends a log-in session; its consoles are closed. */
  "session.end": {
    fields: { session: string };
    result: null;
  };
}
export type CommandType = keyof Commands;
