import { describe, expect, it } from "vitest";
import * as wall from "./wall.ts";
import { EMPTY_WALL, type Wall } from "./wall.ts";

const shown = (w: Wall): (string | null)[] =>
  Array.from({ length: w.layout }, (_, position) => wall.streamAt(w, position));

describe("placing", () => {
  it("puts into the focused tile, then into the next free ones, then over the focused one", () => {
    let w = wall.focusOn(EMPTY_WALL, 2);
    for (const stream of ["a", "b", "c", "d"]) w = wall.placeNext(w, stream);
    expect(shown(w)).toEqual(["c", "d", "a", "b"]);
    expect(w.focus).toBe(1);
    w = wall.placeNext(w, "e");
    expect(shown(w)).toEqual(["c", "e", "a", "b"]);
  });

  it("shows a stream that is there already instead of showing it twice", () => {
    let w = wall.placeNext(wall.placeNext(EMPTY_WALL, "a"), "b");
    w = wall.placeNext(w, "a");
    expect(shown(w)).toEqual(["a", "b", null, null]);
    expect(w.focus).toBe(0);
  });

  it("exchanges tiles by position, each stream keeping its slot", () => {
    let w = wall.place(wall.place(EMPTY_WALL, 0, "a"), 1, "b");
    w = wall.place(w, 3, "a");
    expect(shown(w)).toEqual([null, "b", null, "a"]);
    expect(w.streams.slice(0, 4)).toEqual(["a", "b", null, null]);
    expect(w.order.slice(0, 4)).toEqual([3, 1, 2, 0]);
    w = wall.swap(w, 1, 3);
    expect(shown(w)).toEqual([null, "a", null, "b"]);
    expect(w.streams.slice(0, 4)).toEqual(["a", "b", null, null]);
  });

  it("takes a stream from a hidden position rather than have it in two slots", () => {
    const nine = wall.place(wall.setLayout(EMPTY_WALL, 9), 7, "a");
    const four = wall.placeNext(wall.setLayout(nine, 4), "a");
    expect(shown(wall.setLayout(four, 9)).filter((one) => one === "a")).toHaveLength(1);
  });

  it("removes", () => {
    const w = wall.remove(wall.place(EMPTY_WALL, 1, "a"), 1);
    expect(shown(w)).toEqual([null, null, null, null]);
  });

  it("does nothing outside the grid", () => {
    expect(wall.place(EMPTY_WALL, 4, "a")).toBe(EMPTY_WALL);
    expect(wall.swap(EMPTY_WALL, 0, 9)).toBe(EMPTY_WALL);
  });

  it("fills free tiles only, and leaves the focus", () => {
    const w = wall.focusOn(wall.place(EMPTY_WALL, 1, "x"), 3);
    const filled = wall.fillWith(w, ["x", "a", "b", "c", "d"]);
    expect(shown(filled)).toEqual(["a", "x", "b", "c"]);
    expect(filled.focus).toBe(3);
  });
});

describe("layouts and focus", () => {
  it("keep what is hidden for when it is shown again", () => {
    const nine = wall.place(wall.setLayout(EMPTY_WALL, 9), 8, "a");
    const one = wall.setLayout(nine, 1);
    expect(one.focus).toBe(0);
    expect(shown(one)).toEqual([null]);
    expect(shown(wall.setLayout(one, 9))[8]).toBe("a");
  });

  it("the focus stops at the edges", () => {
    const w = wall.focusOn(wall.setLayout(EMPTY_WALL, 9), 5);
    expect(wall.moveFocus(w, "ArrowRight").focus).toBe(5);
    expect(wall.moveFocus(w, "ArrowLeft").focus).toBe(4);
    expect(wall.moveFocus(w, "ArrowUp").focus).toBe(2);
    expect(wall.moveFocus(w, "ArrowDown").focus).toBe(8);
  });

  it("the pool has the slots that are wanted and visible", () => {
    expect(wall.poolFor(EMPTY_WALL)).toBe(0);
    expect(wall.poolFor(wall.place(EMPTY_WALL, 0, "a"))).toBe(1);
    expect(wall.poolFor(wall.place(EMPTY_WALL, 1, "a"))).toBe(4);
    const sixteen = wall.place(wall.setLayout(EMPTY_WALL, 16), 15, "a");
    expect(wall.poolFor(sixteen)).toBe(16);
    expect(wall.poolFor(wall.setLayout(sixteen, 4))).toBe(0);
    expect(wall.poolFor(wall.setLayout(wall.swap(sixteen, 0, 15), 4))).toBe(16);
  });
});

describe("kept walls", () => {
  it("come back as they were", () => {
    const w = wall.swap(wall.place(wall.setLayout(EMPTY_WALL, 9), 8, "a"), 8, 2);
    expect(wall.wallFrom(JSON.parse(JSON.stringify(w)))).toEqual(w);
  });
  it.each([
    null,
    {},
    { ...EMPTY_WALL, layout: 5 },
    { ...EMPTY_WALL, order: EMPTY_WALL.order.map(() => 0) },
    { ...EMPTY_WALL, order: [0] },
    { ...EMPTY_WALL, streams: [1] },
    { ...EMPTY_WALL, streams: EMPTY_WALL.streams.map(() => 7) },
  ])("are refused when broken: %j", (kept) => {
    expect(wall.wallFrom(kept)).toBeNull();
  });
});
