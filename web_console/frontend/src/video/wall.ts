/**
 * What stands where on the video wall: pure. A slot is one pair of receivers and one <video> that never moves in the
 * document; a position is a place in the grid; `order` says which slot stands at which position. So exchanging two
 * tiles moves no stream and tears no picture.
 */
export const LAYOUTS = [1, 4, 9, 16] as const;
export type Layout = (typeof LAYOUTS)[number];

export const PLACES = 16;
/** Sizes to which the pool of slots grows (PROTOCOL.md, Media). */
const POOL_STEPS = [1, 4, 9, 16, 25] as const;

export interface Wall {
  layout: Layout;
  /** Slot at each position; a permutation of 0 … PLACES − 1. */
  order: readonly number[];
  /** Stream wanted in each slot. */
  streams: readonly (string | null)[];
  /** Focused position, below `layout`. */
  focus: number;
}

export const EMPTY_WALL: Wall = {
  layout: 4,
  order: Array.from({ length: PLACES }, (_, i) => i),
  streams: Array.from({ length: PLACES }, () => null),
  focus: 0,
};

export function slotAt(wall: Wall, position: number): number {
  return wall.order[position] ?? position;
}

export function streamAt(wall: Wall, position: number): string | null {
  return wall.streams[slotAt(wall, position)] ?? null;
}

/** Where in the visible grid a stream stands, −1 = nowhere. */
export function positionOf(wall: Wall, stream: string): number {
  for (let position = 0; position < wall.layout; position += 1) {
    if (streamAt(wall, position) === stream) return position;
  }
  return -1;
}

export function setLayout(wall: Wall, layout: Layout): Wall {
  return { ...wall, layout, focus: Math.min(wall.focus, layout - 1) };
}

export function focusOn(wall: Wall, position: number): Wall {
  return { ...wall, focus: Math.max(0, Math.min(wall.layout - 1, position)) };
}

export type Direction = "ArrowLeft" | "ArrowRight" | "ArrowUp" | "ArrowDown";

/** The neighbour in the grid; at the edge the focus stays. */
export function moveFocus(wall: Wall, direction: Direction): Wall {
  const side = Math.sqrt(wall.layout);
  const row = Math.floor(wall.focus / side);
  const column = wall.focus % side;
  const clamp = (value: number): number => Math.max(0, Math.min(side - 1, value));
  const steps: Record<Direction, [number, number]> = {
    ArrowLeft: [0, -1],
    ArrowRight: [0, 1],
    ArrowUp: [-1, 0],
    ArrowDown: [1, 0],
  };
  const [down, right] = steps[direction];
  return { ...wall, focus: clamp(row + down) * side + clamp(column + right) };
}

/** Put a stream at a position. One that is on the wall already moves there, and what was there takes its place. */
export function place(wall: Wall, position: number, stream: string): Wall {
  if (position < 0 || position >= wall.layout) return wall;
  const from = positionOf(wall, stream);
  if (from >= 0) return { ...swap(wall, from, position), focus: position };
  const streams = wall.streams.map((one) => (one === stream ? null : one));
  streams[slotAt(wall, position)] = stream;
  return { ...wall, streams, focus: position };
}

/** Into the focused tile when it is free, else the next free one, else the focused one. Focuses it. */
export function placeNext(wall: Wall, stream: string): Wall {
  const there = positionOf(wall, stream);
  if (there >= 0) return focusOn(wall, there);
  for (let step = 0; step < wall.layout; step += 1) {
    const position = (wall.focus + step) % wall.layout;
    if (streamAt(wall, position) === null) return place(wall, position, stream);
  }
  return place(wall, wall.focus, stream);
}

export function remove(wall: Wall, position: number): Wall {
  const streams = [...wall.streams];
  streams[slotAt(wall, position)] = null;
  return { ...wall, streams };
}

export function swap(wall: Wall, a: number, b: number): Wall {
  if (Math.max(a, b) >= wall.layout || Math.min(a, b) < 0) return wall;
  const order = [...wall.order];
  [order[a], order[b]] = [slotAt(wall, b), slotAt(wall, a)];
  return { ...wall, order };
}

/** Fill free tiles with streams that are not on the wall yet. */
export function fillWith(wall: Wall, streams: readonly string[]): Wall {
  let filled = wall;
  for (const stream of streams) {
    const free = Array.from({ length: filled.layout }, (_, i) => i).find((i) => streamAt(filled, i) === null);
    if (free === undefined) break;
    if (positionOf(filled, stream) < 0) filled = { ...place(filled, free, stream), focus: wall.focus };
  }
  return filled;
}

/** The smallest pool that has every slot of the visible grid in which something is wanted; 0 = nothing is. */
export function poolFor(wall: Wall): number {
  let needed = 0;
  for (let position = 0; position < wall.layout; position += 1) {
    if (streamAt(wall, position) !== null) needed = Math.max(needed, slotAt(wall, position) + 1);
  }
  return needed === 0 ? 0 : (POOL_STEPS.find((step) => step >= needed) ?? PLACES);
}

/** A wall as it was kept, or null when it is none. */
export function wallFrom(kept: unknown): Wall | null {
  const { layout, order, streams, focus } = (kept ?? {}) as Partial<Record<keyof Wall, unknown>>;
  const known = LAYOUTS.find((one) => one === layout);
  if (known === undefined || !Array.isArray(order) || !Array.isArray(streams)) return null;
  const sorted = [...order].sort((a, b) => Number(a) - Number(b));
  if (sorted.length !== PLACES || sorted.some((slot, i) => slot !== i)) return null;
  if (streams.length !== PLACES || streams.some((one) => one !== null && typeof one !== "string"))
    return null;
  return focusOn(
    { layout: known, order, streams, focus: 0 },
    typeof focus === "number" && Number.isInteger(focus) ? focus : 0,
  );
}
