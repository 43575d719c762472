/** Where the phone is: watched while wanted, kept until the server has it, and found at once when an alarm needs it. */
import { signal } from "@preact/signals";
import { serverTime } from "../clock.ts";
import type { Link } from "../link.ts";
import { randomId } from "../link.ts";
import type { AlarmPosition, ReportedPosition } from "../messages.ts";
import { load, save } from "../storage.ts";
import * as positions from "./positions.ts";

const QUEUE = "positions";
const LAST = "position-last";

type PositionProblem = "denied" | "unavailable";

export class Locator {
  readonly on = signal(load("position", false));
  readonly fix = signal<positions.Fix | null>(null);
  readonly problem = signal<PositionProblem | null>(null);
  readonly queue = signal<ReportedPosition[]>(positions.queueFrom(load(QUEUE, [])));

  private watch: number | null = null;
  private kept: positions.Fix | null = null;
  private sending = false;

  constructor(private readonly link: Link) {}

  start(): void {
    if (this.on.peek()) this.begin();
  }

  set(on: boolean): void {
    if (on === this.on.peek()) return;
    this.on.value = on;
    save("position", on);
    if (on) this.begin();
    else this.end();
  }

  /** The last place that is known, however old; null = none. */
  get last(): AlarmPosition | null {
    const known = this.fix.peek() ?? load<positions.Fix | null>(LAST, null);
    if (typeof known?.lat !== "number" || typeof known.lon !== "number") return null;
    return { lat: known.lat, lon: known.lon, accuracy: known.accuracy, time: known.time };
  }

  /** Look now, and take what is found as a fix. Asks for the permission where it is not there. */
  look(timeout: number): void {
    if (!("geolocation" in navigator)) return;
    navigator.geolocation.getCurrentPosition(
      (found) => this.found(found),
      () => undefined, // the last known one is used
      { enableHighAccuracy: true, maximumAge: 0, timeout: timeout * 1000 },
    );
  }

  /** Send what waits, when the server can be asked. */
  flush(): void {
    if (this.sending || !this.link.ready || this.queue.peek().length === 0) return;
    this.sending = true;
    const sent = positions.batch(this.queue.peek());
    void this.link.command("position.report", { positions: sent }, "now").then((outcome) => {
      this.sending = false;
      // a report the server calls bad stays bad; anything else is tried again
      if (outcome.ok || outcome.problem.code === "bad_request") {
        this.setQueue(positions.without(this.queue.peek(), sent));
      }
    });
  }

  private begin(): void {
    if (this.watch !== null) return;
    this.problem.value = null;
    if (!("geolocation" in navigator)) {
      this.problem.value = "unavailable";
      return;
    }
    this.watch = navigator.geolocation.watchPosition(
      (found) => this.found(found),
      (error) => {
        this.problem.value = error.code === error.PERMISSION_DENIED ? "denied" : "unavailable";
        this.fix.value = null;
      },
      { enableHighAccuracy: true, maximumAge: 5000, timeout: 30_000 },
    );
  }

  private end(): void {
    if (this.watch !== null) navigator.geolocation.clearWatch(this.watch);
    this.watch = null;
    this.fix.value = null;
    this.problem.value = null;
  }

  private found({ coords, timestamp }: GeolocationPosition): void {
    this.problem.value = null;
    const fix: positions.Fix = {
      lat: coords.latitude,
      lon: coords.longitude,
      time: timestamp / 1000 + (serverTime() - Date.now() / 1000),
      accuracy: coords.accuracy,
      altitude: coords.altitude,
      heading: coords.heading !== null && Number.isFinite(coords.heading) ? coords.heading : null,
      speed: coords.speed,
    };
    this.fix.value = fix;
    save(LAST, fix);
    if (!positions.worthKeeping(fix, this.kept)) return;
    this.kept = fix;
    this.setQueue(positions.add(this.queue.peek(), fix, randomId()));
    this.flush();
  }

  private setQueue(queue: ReportedPosition[]): void {
    this.queue.value = queue;
    save(QUEUE, queue);
  }
}
