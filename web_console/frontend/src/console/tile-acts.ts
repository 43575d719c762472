/** What can be done with a tile, by key or button; apart from the tile itself, which is fetched with the wall. */
import { streamAt } from "../video/wall.ts";
import type { ConsoleModel } from "./model.ts";

export const STREAM_DRAG = "application/x-fengsui-stream"; // from the list to a tile

export function listen(model: ConsoleModel, position: number): void {
  const same = model.wall.peek().focus === position;
  model.setSound(!same || !model.sound.peek());
  if (!same) model.change((wall) => ({ ...wall, focus: position }));
}

export function toggleFullscreen(element: Element | null): void {
  if (document.fullscreenElement) void document.exitFullscreen();
  else void element?.requestFullscreen().catch(() => undefined);
}

/** What a key does to the focused tile. */
export function tileAction(model: ConsoleModel, code: string): boolean {
  const wall = model.wall.peek();
  if (streamAt(wall, wall.focus) === null) return false;
  const tile = document.querySelector(`.tile[aria-current="true"]`);
  switch (code) {
    case "KeyF":
      toggleFullscreen(tile);
      return true;
    case "KeyS":
      tile?.querySelector<HTMLButtonElement>(`[aria-keyshortcuts="S"]`)?.click();
      return true;
    case "KeyI":
      model.toggleStatistics(wall.order[wall.focus] ?? wall.focus);
      return true;
    case "KeyM":
      listen(model, wall.focus);
      return true;
    case "Delete":
    case "Backspace":
      model.takeOff(wall.focus);
      return true;
    default:
      return false;
  }
}
