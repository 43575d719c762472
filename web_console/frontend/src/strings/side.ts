/** The right panel: alarms, call-backs, what was said last. */
import { translator } from "../language.ts";

const zh = {
  side_show: "展开右栏",
  side_hide: "收起右栏",
  alarms: "紧急告警",
  alarms_new: "{n} 个告警待确认",
  alarms_count: "待确认 {new} · 共 {all}",
  alarm_emergency: "紧急告警",
  alarm_peril: "险情",
  alarm_times: "第 {n} 次",
  alarm_late: "{pressed} 按下，{time} 才收到，迟了 {late}",
  alarm_unowned: "尚无人确认",
  alarm_owner: "处置人：{name}",
  alarm_parked: "{name} 搁置到 {time}：{reason}",
  alarm_ack: "确认",
  alarm_park: "搁置",
  alarm_resume: "恢复",
  alarm_close: "解除",
  alarm_picture: "现场画面",
  alarm_picture_of: "{name} 的镜头，{state}",
  alarm_picture_wall: "放到视频墙",
  ago: "{time}前",
  place_unknown: "位置未知",
  place_accuracy: "±{n} 米",
  callbacks_waiting: "{n} 个待办",
  callbacks_none: "没有回呼请求",
  callback_taken: "{name} 正在处理",
  callback_take: "我来处理",
  callback_call: "回呼",
  callback_done: "已办",
  recent: "最近通话",
  recent_none: "收听的组还没有通话",
  recent_failed: "读不到录音：{reason}",
  seek: "播放位置",
  seconds: "{n} 秒",
  call_with: "单呼 · 对方 {name}",
  evidence_hold: "存证 {name} 的录音",
  evidence_held: "已存证，{name}：{why}",
  spurt_recording: "录音中",
  spurt_cut: "不完整",
  spurt_lost: "已丢失",
  spurt_erased: "已清除",
} as const;

export type SideKey = keyof typeof zh;
export const sideStrings = zh;
export const side = translator("side", zh);
