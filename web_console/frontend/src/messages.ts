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
  leg: string;
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

/** Who may be in a group: a unit, an account or everybody of a role. `talk` False = listens only. */
export interface Member {
  kind: "unit" | "user" | "role";
  id: string;
  name: string;
  talk: boolean;
  priority: number;
}

/** A client that listens to the group now. `selected`: its key talks here; `voice`: its sound path is up. */
export interface Listener {
  leg: string;
  name: string;
  kind: string;
  unit: string;
  user: string;
  selected: boolean;
  talk: boolean;
  voice: boolean;
}

/** A talk group. `number`: its slot key and its place in lists. `patch`: "P1" to "P9" while patched. */
export interface Group {
  id: string;
  name: string;
  number: number;
  kind: string;
  members: Member[];
  listeners: Listener[];
  patch: string;
  muted: number | null;
  emergency: boolean;
  expires: number | null;
  createdBy: string;
}

/** Who has a floor. `kind`: browser | phone | radio | satellite | sip. */
export interface Talker {
  leg: string;
  name: string;
  kind: string;
  unit: string;
  user: string;
}

/** The right to talk in a group; its id is the group's. Groups in one patch have the same floor. */
export interface Floor {
  id: string;
  floor: string;
  state: "idle" | "taken" | "tail" | "hang";
  sequence: number;
  since: number;
  talker: Talker | null;
  urgency: string;
  until: number | null;
  queued: number;
  blocked: string;
  collision: boolean;
}

/** Two or more groups that share one floor. `name`: P1 to P9. */
export interface Patch {
  id: string;
  name: string;
  groups: string[];
  since: number;
  createdBy: string;
}

/** A call between two. Full duplex: both talk at once; half: its `group` has a floor. */
export interface PrivateCall {
  id: string;
  state: string;
  duplex: "full" | "half";
  caller: Talker;
  callee: Talker;
  since: number;
  group: string;
  cause: string;
}

/** Somebody asks to be called back (回呼请求). `taken_by` "" = nobody yet; `done` when it was dealt with. */
export interface CallBack {
  id: string;
  name: string;
  unit: string;
  user: string;
  group: string;
  text: string;
  at: number;
  times: number;
  takenBy: string;
  done: number | null;
}

export interface AlarmPosition {
  lat: number;
  lon: number;
  accuracy: number | null;
  time: number;
}

/** One thing that happened to an alarm. `pressed`: when the key was pressed, of a press that came late. */
export interface AlarmAct {
  at: number;
  by: string;
  act: string;
  text: string;
  pressed: number | null;
}

/** An emergency alarm with its owner. `raised`: when the server got it, `pressed`: when the key was pressed. */
export interface Alarm {
  id: string;
  kind: string;
  state: string;
  name: string;
  unit: string;
  device: string;
  group: string;
  stream: string;
  raised: number;
  pressed: number;
  position: AlarmPosition | null;
  owner: string;
  reason: string;
  until: number | null;
  times: number;
  history: AlarmAct[];
}

/** A recording that was held as evidence, or let go, since the server started; of the newest 200 such. */
export interface Hold {
  id: string;
  hold: boolean;
  heldBy: string;
  heldWhy: string;
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
  groups: Group[];
  floors: Floor[];
  patches: Patch[];
  calls: PrivateCall[];
  callbacks: CallBack[];
  alarms: Alarm[];
  holds: Hold[];
}

/** `value` None = gone. */
export interface Change {
  kind: "unit" | "device" | "stream" | "link" | "health" | "group" | "floor" | "patch" | "call" | "callback" | "alarm" | "hold";
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

/** What leaves into one of this client's voice slots; `group` "" = nothing, `talker` None = the spurt is over. */
export interface VoiceSlot {
  type: "voice.slot";
  slot: number;
  group: string;
  talker: Talker | null;
  call: string;
}

/** What became of this client's own request. */
export interface FloorTold {
  type: "floor.told";
  group: string;
  state: string;
  sequence: number;
  urgency: string;
  until: number | null;
  position: number;
  size: number;
  cause: string;
  talker: Talker | null;
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

/** Which m-sections of the answer carry a slot; a voice slot has no picture. */
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

/** As `FloorTold`, right away: granted, queued or denied. */
export interface FloorAnswer {
  group: string;
  state: string;
  sequence: number;
  until: number | null;
  position: number;
  size: number;
  cause: string;
  talker: Talker | null;
}

/** Result of floor.request, in the order asked. */
export interface FloorAnswers {
  answers: FloorAnswer[];
}

/** Result of group.create. */
export interface GroupCreated {
  group: string;
}

/** Result of patch.create. */
export interface PatchCreated {
  patch: string;
  name: string;
}

/** Result of call.start. */
export interface CallStarted {
  call: string;
}

/** Result of emergency.start; `answer` as of floor.request. */
export interface EmergencyStarted {
  alarm: string;
  group: string;
  answer: FloorAnswer;
}

/** A recorded transmission: `GET /recordings/{id}` is its sound. `duration` s, 0 while it goes on. */
export interface Spurt {
  id: string;
  started: number;
  duration: number;
  groups: string[];
  groupNames: string[];
  talker: Talker;
  urgency: string;
  state: string;
  position: AlarmPosition | null;
  detail: string;
  after: string;
  gap: number;
  call: string;
  peer: Talker | null;
  hold: boolean;
  heldBy: string;
  heldWhy: string;
}

/** Result of spurt.search. `more`: there are older ones. */
export interface SpurtPage {
  spurts: Spurt[];
  more: boolean;
}

/** Result of spurt.hold: the recording as it is now. */
export interface SpurtHeld {
  spurt: Spurt;
}

export interface Entities {
  unit: Unit;
  device: Device;
  stream: Stream;
  link: JoinLink;
  health: HealthRow;
  group: Group;
  floor: Floor;
  patch: Patch;
  call: PrivateCall;
  callback: CallBack;
  alarm: Alarm;
  hold: Hold;
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

/** Sent every 200 ms by the page itself (not a worker) while a key is held; no answer. */
export interface FloorAlive {
  type: "floor.alive";
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

/** As `Member`, without the name. */
export interface MemberWish {
  kind: "unit" | "user" | "role";
  id: string;
  talk?: boolean;
  priority?: number;
}

export type ServerMessage =
  | Hello
  | Snapshot
  | Delta
  | Reply
  | SlotChanged
  | VoiceSlot
  | FloorTold
  | MediaStep
  | Pong
  | Goodbye;

/** Fields of each command beside `type` and `id`, and what its reply carries. */
export interface Commands {
  /**
   * Offer of a browser. kind "console": sections in (audio, video) pairs per slot, recvonly; "phone": publishes
   * the client's own stream; "voice": the microphone (sendonly), then up to 8 recvonly audio sections, its voice
   * slots. `session`: an earlier answer's, for more slots or an ICE restart.
   */
  "media.offer": {
    fields: { kind: "console" | "phone" | "voice"; sdp: string; session?: string };
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
  /** The complete list of groups this client listens to, best first, and of those its key talks in. */
  "group.tune": {
    fields: { listening: string[]; selected?: string[] };
    result: null;
  };
  /** The key is down: ask for the floors of these groups. The microphone sends at once, see PROTOCOL.md. */
  "floor.request": {
    fields: { groups: string[]; bargeIn?: boolean; urgency?: "normal" | "peril" | "emergency" };
    result: FloorAnswers;
  };
  /** The key is up: give the floors back, leave the queues. No groups = all of them. */
  "floor.release": {
    fields: { groups?: string[] };
    result: null;
  };
  /** Take the floor from whoever talks (强拆); needs a reason, is audited. */
  "floor.revoke": {
    fields: { group: string; reason: string };
    result: null;
  };
  /** Talk to everybody (全呼): the floor of the all-call group. Audited. Release with floor.release. */
  "call.all": {
    fields: Record<never, never>;
    result: FloorAnswers;
  };
  /** A group made on the spot. `hours`: it ends by itself (temporary); None = it stays. */
  "group.create": {
    fields: { name: string; kind?: "static" | "dynamic" | "temporary" | "broadcast"; members?: MemberWish[]; hours?: number | null };
    result: GroupCreated;
  };
  /** Another name, end or complete list of members; what is None stays. */
  "group.change": {
    fields: { group: string; name?: string | null; members?: MemberWish[] | null; hours?: number | null };
    result: null;
  };
  /** Ends a group; needs a reason, is audited. Its recordings stay. */
  "group.delete": {
    fields: { group: string; reason: string };
    result: null;
  };
  /** One floor for two or more groups (跨组互通). */
  "patch.create": {
    fields: { groups: string[] };
    result: PatchCreated;
  };
  /** The complete list of a patch's groups; fewer than two end it. */
  "patch.change": {
    fields: { patch: string; groups: string[] };
    result: null;
  };
  /** A patched group is on its own for a while; 0 s = no longer. */
  "patch.mute": {
    fields: { group: string; seconds: number };
    result: null;
  };
  /** Call one unit or officer. */
  "call.start": {
    fields: { unit?: string; user?: string; duplex?: "full" | "half" };
    result: CallStarted;
  };
  /** Take or decline a call that rings here. */
  "call.answer": {
    fields: { call: string; accept: boolean };
    result: null;
  };
  /** Hang up, or give up ringing. */
  "call.end": {
    fields: { call: string };
    result: null;
  };
  /** Ask the dispatchers to call back; asked again it counts up. */
  "callback.request": {
    fields: { group?: string; text?: string };
    result: null;
  };
  /** Say that one deals with it, or with `done` that it is dealt with. */
  "callback.take": {
    fields: { callback: string; done?: boolean };
    result: null;
  };
  /** Raise the emergency alarm of the caller's unit and open its group's floor; `key` counts a re-sent one once. */
  "emergency.start": {
    fields: { key: string; group?: string; age?: number; position?: AlarmPosition | null };
    result: EmergencyStarted;
  };
  /** Acknowledge, park (with a reason and a time), resume or close (with a reason) an alarm. */
  "alarm.move": {
    fields: { alarm: string; act: "acknowledge" | "park" | "resume" | "close"; reason?: string; seconds?: number };
    result: null;
  };
  /** Recorded transmissions, newest first; `before`: a spurt's id, for the next page. Empty fields do not filter. */
  "spurt.search": {
    fields: { groups?: string[]; unit?: string; user?: string; text?: string; since?: number | null; until?: number | null; emergency?: boolean; held?: boolean; before?: string; limit?: number };
    result: SpurtPage;
  };
  /** Keep a recording as evidence (存证), or with `hold` false let retention have it again; with a reason, audited. */
  "spurt.hold": {
    fields: { spurt: string; hold: boolean; reason: string };
    result: SpurtHeld;
  };
}
export type CommandType = keyof Commands;
