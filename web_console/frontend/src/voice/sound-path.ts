/**
 * The sound path: a peer connection of its own for the microphone and the voice slots (PROTOCOL.md, Talk groups). The
 * microphone stays open and sends nothing (`active: false`: no packets at all) until a key is down, so that the first
 * syllable does not wait for a device.
 */
import { signal } from "@preact/signals";
import type { Link } from "../link.ts";
import type { MediaAnswer, MediaStep, Talker, VoiceSlot } from "../messages.ts";
import { Peer } from "../peer.ts";

export const VOICE_SLOTS = 8;

/** One voice slot: its track since the connection is up, and what the server says leaves into it. */
class HeardSlot {
  readonly track = signal<MediaStreamTrack | null>(null);
  readonly heard = signal<{ group: string; call: string; talker: Talker | null }>(SILENCE);

  constructor(readonly index: number) {}
}

const TOLD_WITHIN_MS = 1000;
const SILENCE = { group: "", call: "", talker: null };

export class SoundPath {
  readonly peer: Peer;
  readonly slots = Array.from({ length: VOICE_SLOTS }, (_, index) => new HeardSlot(index));

  /** The server knows this path. After one that was started anew it does not, whatever the browser still believes. */
  readonly sure = signal(true);

  private track: MediaStreamTrack | null = null;
  private sender: RTCRtpSender | null = null;
  private active = false;
  private applied = false;
  private applying = false;

  constructor(link: Link) {
    this.peer = new Peer(link, {
      kind: "voice",
      prepare: (pc) => this.prepare(pc),
      answered: (answer) => this.answered(answer),
      gone: () => this.gone(),
      expecting: (sending) => sending || this.slots.some((slot) => slot.heard.peek().talker !== null),
      unheard: () => false, // then the floor is lost, which is told
    });
  }

  /** The server does not go on where it was: it says within a moment that it knows the session, or it does not. */
  helloed(resumed: boolean): void {
    const { session } = this.peer;
    if (resumed || session === "") return;
    this.sure.value = false;
    setTimeout(() => {
      if (this.sure.peek()) return;
      this.sure.value = true;
      if (this.peer.session === session) this.peer.rejoin();
    }, TOLD_WITHIN_MS);
  }

  /** Which microphone is sent, null = none. */
  setTrack(track: MediaStreamTrack | null): void {
    this.track = track;
    void this.sender?.replaceTrack(track).catch(() => undefined);
  }

  /** Send what the microphone hears, or nothing at all. */
  setActive(active: boolean): void {
    this.active = active;
    void this.apply();
  }

  told(message: MediaStep | VoiceSlot): void {
    if (message.type === "media") {
      if (message.session === this.peer.session) this.sure.value = true;
      this.peer.told(message);
      return;
    }
    const { group, call, talker } = message;
    const slot = this.slots[message.slot];
    if (slot) slot.heard.value = { group, call, talker };
  }

  private prepare(pc: RTCPeerConnection): void {
    this.applied = this.active;
    const microphone = pc.addTransceiver("audio", {
      direction: "sendonly",
      streams: [new MediaStream()],
      sendEncodings: [{ active: this.active }],
    });
    this.sender = microphone.sender;
    prefer(microphone, RTCRtpSender.getCapabilities("audio"), ["audio/red", "audio/opus"]);
    void this.sender.replaceTrack(this.track).catch(() => undefined);
    for (let i = 0; i < VOICE_SLOTS; i += 1) {
      const slot = pc.addTransceiver("audio", { direction: "recvonly" });
      prefer(slot, RTCRtpReceiver.getCapabilities("audio"), ["audio/opus", "audio/red"]);
    }
  }

  private answered(answer: MediaAnswer): void {
    const receivers = new Map(this.peer.pc?.getTransceivers().map((one) => [one.mid, one.receiver]));
    for (const { slot, audioMid } of answer.slots) {
      const place = this.slots[slot];
      const track = receivers.get(audioMid)?.track ?? null;
      if (place && place.track.peek() !== track) place.track.value = track;
    }
    void this.apply();
  }

  private gone(): void {
    this.sure.value = true; // nothing is claimed any more
    this.sender = null;
    for (const slot of this.slots) {
      slot.track.value = null;
      slot.heard.value = SILENCE;
    }
  }

  /** One change after the other: parameters may only be set as they were just read. */
  private async apply(): Promise<void> {
    if (this.applying) return;
    this.applying = true;
    try {
      while (this.sender && this.applied !== this.active) {
        const sender = this.sender;
        const wanted = this.active;
        const parameters = sender.getParameters();
        const [encoding] = parameters.encodings;
        if (!encoding) break; // not negotiated yet: tried again with the answer
        encoding.active = wanted;
        await sender.setParameters(parameters);
        if (sender === this.sender) this.applied = wanted;
      }
    } catch {
      // the connection went away meanwhile; a fresh one starts with the right state
    } finally {
      this.applying = false;
    }
  }
}

/** Only these codecs, in this order: a short offer, and RED's redundancy for what we say. */
function prefer(
  transceiver: RTCRtpTransceiver,
  capabilities: RTCRtpCapabilities | null,
  types: readonly string[],
): void {
  const codecs = types.flatMap(
    (type) => capabilities?.codecs.filter((one) => one.mimeType.toLowerCase() === type) ?? [],
  );
  if (codecs.length) transceiver.setCodecPreferences(codecs);
}
