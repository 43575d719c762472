/** A still of a tile as PNG, with the unit, the time and the picture's state burnt in. */
interface Caption {
  name: string;
  time: string;
  /** "" when the picture is live; else what must not be forgotten about it. */
  remark: string;
}

export async function snapshot(video: HTMLVideoElement, caption: Caption): Promise<Blob | null> {
  const { videoWidth: width, videoHeight: height } = video;
  if (!width || !height) return null;
  const size = Math.max(14, Math.round(height / 28));
  const bar = Math.round(size * 1.9);
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height + bar;
  const context = canvas.getContext("2d");
  if (!context) return null;
  context.drawImage(video, 0, 0, width, height);
  context.fillStyle = "#0B0F14";
  context.fillRect(0, height, width, bar);
  context.font = `${size}px "Source Han Sans SC", "Noto Sans CJK SC", "Microsoft YaHei", sans-serif`;
  context.textBaseline = "middle";
  const middle = height + bar / 2;
  const right = width - size * 0.6;
  context.fillStyle = "#E6EDF3";
  context.textAlign = "right";
  context.fillText(caption.time, right, middle);
  const room = right - context.measureText(caption.time).width - size * 1.6;
  context.textAlign = "left";
  context.fillText(
    caption.remark ? `${caption.name}  【${caption.remark}】` : caption.name,
    size * 0.6,
    middle,
    room,
  );
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

export function download(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A name that every file system takes. */
export function fileName(name: string, time: string): string {
  const clean = name.replace(/[^\p{L}\p{N}]+/gu, "_").replace(/^_+|_+$/g, "");
  return `${clean.slice(0, 80)}_${time.replace(/[^\d]+/g, "")}.png`;
}
