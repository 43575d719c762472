/** The messages of `server/signalling/messages.py`, as they stand on the wire. Times are seconds since 1970 UTC. */
export const SCHEMA = 1;

// ---------------------------------------------------------------- entities

export interface Position {
  lat: number;
  lon: number;
  accuracy: number | null;
  time: number;
  altitude: number | null;
  heading: number | null;
  speed: number | null;
}

export interface Unit {
  id: string;
  name: string;
  kind: string;
  number: number;
  position: Position | null;
}

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

export interface Step {
  name: string;
  at: number | null;
}

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

export interface Entities {
  unit: Unit;
  device: Device;
  stream: Stream;
  link: JoinLink;
  health: HealthRow;
}
export type Kind = keyof Entities;

export interface Change {
  kind: Kind;
  id: string;
  value: Entities[Kind] | null;
}

// ---------------------------------------------------------------- from the server

export interface ServerInfo {
  name: string;
  level: string;
  version: string;
  time: number;
  media: boolean;
  drill: boolean;
}

export interface Hello {
  type: "hello";
  schema: number;
  rev: number;
  resumed: boolean;
  client: string;
  user: { id: string; name: string; role: string; permissions: string[] };
  server: ServerInfo;
  stream: string;
}

export interface Snapshot {
  type: "snapshot";
  rev: number;
  units: Unit[];
  devices: Device[];
  streams: Stream[];
  links: JoinLink[];
  health: HealthRow[];
}

export interface Delta {
  type: "delta";
  rev: number;
  changes: Change[];
}

export interface Problem {
  code: string;
  message: string;
  field: string;
  retryAfter: number;
}

export interface Reply {
  type: "reply";
  id: string;
  ok: boolean;
  result: unknown;
  error: Problem | null;
}

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

export interface MediaStep {
  type: "media";
  session: string;
  step: string;
  detail: string;
}

export interface Pong {
  type: "pong";
  t: number;
  time: number;
}

export interface Goodbye {
  type: "goodbye";
  reason: string;
}

export type ServerMessage = Hello | Snapshot | Delta | Reply | SlotChanged | MediaStep | Pong | Goodbye;

// ---------------------------------------------------------------- to the server

export interface Wish {
  slot: number;
  stream: string | null;
  height: number;
  priority: number;
  audio: boolean;
}

export interface SlotInfo {
  slot: number;
  audioMid: string;
  videoMid: string;
}

export interface MediaAnswer {
  session: string;
  sdp: string;
  slots: SlotInfo[];
}

export interface LinkCreated {
  link: JoinLink;
  url: string;
  qrSvg: string;
}

export interface ReportedPosition {
  key: string;
  lat: number;
  lon: number;
  time: number;
  accuracy: number | null;
  altitude: number | null;
  heading: number | null;
  speed: number | null;
}

/** Fields of each command beside `type` and `id`, and what its reply carries. */
export interface Commands {
  "media.offer": { fields: { kind: "console" | "phone"; sdp: string; session: string }; result: MediaAnswer };
  "media.close": { fields: { session: string }; result: null };
  "slot.set": { fields: { session: string; wishes: Wish[] }; result: null };
  "slot.shown": {
    fields: { session: string; slot: number; stream: string; state: "shown" | "frozen" };
    result: null;
  };
  "link.create": { fields: { name: string; hours: number; unit: string }; result: LinkCreated };
  "link.revoke": { fields: { link: string }; result: null };
  "stream.close": { fields: { stream: string; reason: string }; result: null };
  "unit.rename": { fields: { unit: string; name: string }; result: null };
  "position.report": { fields: { positions: ReportedPosition[] }; result: { stored: number } };
  "phone.state": {
    fields: { battery: number | null; charging: boolean | null; network: string };
    result: null;
  };
}
export type CommandType = keyof Commands;
