//! Keys of `faultgate.toml`.

use super::upstream::UPSTREAM;
use super::{Key, Kind, key, words};
use crate::engine::decode::decoder_names;
use crate::engine::merge::StormBy;
use crate::engine::register::UnknownDevices;
use crate::engine::types::text::Language;

const TEXTS: Kind = Kind::List(&Kind::Text);
const ONE_OR_MORE: Kind = Kind::Either(&[Kind::Text, Kind::List(&Kind::Text)]);
const POINTER: Kind = Kind::Pattern("^(/.*)?$");
const POINTERS: Kind = Kind::Either(&[POINTER, Kind::List(&POINTER)]);
const BAD: Kind = Kind::List(&Kind::Scalar);

/// The whole file.
pub(super) const FILE: &[Key] = &[
    key(
        "gateway",
        Kind::Table(GATEWAY),
        "Who this gateway is and where its files are",
        "网关身份与文件位置",
    ),
    key("broker", Kind::Table(BROKER), "The embedded broker", "内置 MQTT 代理"),
    key(
        "source",
        Kind::Tables(SOURCE),
        "Where messages come from and how they are read",
        "消息来源与解析方式",
    ),
    key("http", Kind::Table(HTTP), "Console, API and desk", "控制台、接口与工单台"),
    key("desk", Kind::Table(DESK), "The desk inside", "内置工单台"),
    key(
        "upstream",
        Kind::Tables(UPSTREAM),
        "Ticket systems, the default one first",
        "工单系统，首个为默认",
    ),
    key("limits", Kind::Table(LIMITS), "Bounds", "上限"),
    key("storm", Kind::Table(STORM), "When alarms join one ticket", "报警风暴：何时并入同一工单"),
    key("store", Kind::Table(STORE), "The store", "存储"),
];

const GATEWAY: &[Key] = &[
    key(
        "catch_up_after",
        Kind::Duration,
        "An upstream that was away for less gets everything as it was decided, else what is left of it; default 10m",
        "上游中断短于此时间则照原样补发，否则只补发净结果；默认 10m",
    ),
    key(
        "lateness",
        Kind::Duration,
        "Samples older than the newest by no more than this are placed by their time, later ones start no delay; default 10s",
        "比最新样本早不超过此时间的迟到样本按其时间归位，更晚的不启动延时；默认 10s",
    ),
    key(
        "restart_grace",
        Kind::Duration,
        "How long after a start, or after a lost path is back, `absent` is held back; default 10m",
        "启动后或链路恢复后多久之内不判定设备失联；默认 10m",
    ),
    key(
        "settle",
        Kind::Duration,
        "How long nothing is sent after a restart, so that inhibition and groups see all of it; default 15s",
        "重启后多久不发送任何内容，以便抑制与合并掌握全局；默认 15s",
    ),
    key(
        "id",
        Kind::Text,
        "Name in the ledger and in messages; default: host name",
        "账本与消息中的名称；缺省为主机名",
    ),
    key(
        "timezone",
        Kind::Text,
        "IANA zone of the times in tickets; default: the system's",
        "工单时间所用 IANA 时区；缺省为系统时区",
    ),
    key(
        "language",
        Kind::Words(words::<Language>),
        "Language of tickets and messages",
        "工单与消息的语言",
    ),
    key("rules", TEXTS, "Rule files and folders", "规则文件与目录"),
    key("devices", Kind::Text, "The register of devices", "设备登记文件"),
    key("plan", Kind::Text, "The price plan that is in force", "生效的资费方案文件"),
    key("budgets", Kind::Text, "The budgets", "预算文件"),
    key("data", Kind::Text, "Data folder", "数据目录"),
];

const BROKER: &[Key] = &[
    key("enabled", Kind::Bool, "Whether it runs", "是否启用"),
    key(
        "listen",
        Kind::Text,
        "Address and port, e.g. 127.0.0.1:1883",
        "监听地址与端口，例如 127.0.0.1:1883",
    ),
    key("max_payload", Kind::Size, "Largest payload, at most 8MiB", "最大报文，至多 8MiB"),
    key("max_connections", Kind::Whole(0, 4_294_967_295), "Most connections", "最大连接数"),
];

const SOURCE: &[Key] = &[
    key("name", Kind::Text, "Name in logs and metrics", "日志与指标中的名称").required(),
    key(
        "url",
        Kind::Pattern("^(embedded|mqtts?://.+)$"),
        "embedded, mqtt://host:1883 or mqtts://host:8883",
        "embedded、mqtt:// 或 mqtts:// 地址",
    )
    .required(),
    key("user", Kind::Text, "User at the broker", "代理用户名"),
    key("password", Kind::Secret, "Password at the broker", "代理密码"),
    key("ca", Kind::Text, "File with the authority's certificate", "CA 证书文件"),
    key("certificate", Kind::Text, "File with the client certificate", "客户端证书文件"),
    key("key", Kind::Text, "File with its key", "客户端私钥文件"),
    key("client_id", Kind::Text, "MQTT client id", "MQTT 客户端标识"),
    key("qos", Kind::Whole(0, 1), "Quality of service", "服务质量"),
    key("shared_group", Kind::Text, "$share group for several gateways", "多网关共享订阅组"),
    key("topics", TEXTS, "Topic filters", "订阅主题"),
    key(
        "topic",
        ONE_OR_MORE,
        "Pattern, e.g. plant/{site}/{class}/{device}/telemetry",
        "主题模式，例如 plant/{site}/{class}/{device}/telemetry",
    ),
    key("decoder", Kind::Words(decoder_names), "How payloads are read", "报文解析方式"),
    key("max_skew", Kind::Table(SKEW), "How far a device's time may be off", "设备时间允许偏差"),
    key("presence", Kind::Tables(PRESENCE), "Last wills and births", "遗嘱与上线消息"),
    key("json", Kind::Table(JSON), "Mapping of JSON", "JSON 映射"),
    key("csv", Kind::Table(CSV), "Columns of CSV", "CSV 列"),
    key("senml", Kind::Table(SENML), "SenML", "SenML"),
    key("sparkplug", Kind::Table(SPARKPLUG), "Sparkplug host application", "Sparkplug 主机应用"),
];

const SKEW: &[Key] = &[
    key("back", Kind::Duration, "Before the receipt", "早于接收时间"),
    key("ahead", Kind::Duration, "After the receipt", "晚于接收时间"),
];

const PRESENCE: &[Key] = &[
    key("topic", ONE_OR_MORE, "Pattern of the topic", "主题模式").required(),
    key("path", POINTER, "Place of the word in JSON", "状态词在 JSON 中的位置"),
    key("online", ONE_OR_MORE, "Words that mean online", "表示在线的词"),
    key("offline", ONE_OR_MORE, "Words that mean offline", "表示离线的词"),
];

const UNIT: Kind = Kind::Named(&["s", "ms", "us", "rfc3339", "local", "auto"]);

const JSON: &[Key] = &[
    key("timestamp", Kind::Table(JSON_TIME), "The device's time", "设备时间"),
    key("device", POINTER, "Place of the device's id", "设备标识的位置"),
    key("quality", Kind::Table(QUALITY), "Quality of the element", "数据质量"),
    key("each", POINTER, "Array with one sample set an element", "逐元素为一组样本的数组"),
    key("metrics", METRICS, "Metrics and their places", "指标及其位置"),
    key("bad", BAD, "Values that mean bad quality", "表示质量差的值"),
    key(
        "rest",
        Kind::Bool,
        "Every other scalar is a metric named by its path",
        "其余标量按路径成为指标",
    ),
];

const JSON_TIME: &[Key] = &[
    key("path", POINTER, "Its place", "位置").required(),
    key("unit", UNIT, "How it is written", "写法").required(),
    key("zone", Kind::Text, "IANA zone of a local time", "本地时间的 IANA 时区"),
];

const QUALITY: &[Key] = &[
    key("path", POINTER, "Its place", "位置").required(),
    key("good", Kind::List(&Kind::Scalar), "Values that mean good", "表示良好的值").required(),
];

const METRICS: Kind = Kind::Open(&[], &Kind::Either(&[POINTERS, Kind::Table(METRIC)]));

const METRIC: &[Key] = &[
    key("path", POINTERS, "Places that may hold it", "可能的位置"),
    key("scale", Kind::Number, "Factor", "系数"),
    key("offset", Kind::Number, "Added after the factor", "偏移"),
    key("unit", Kind::Text, "Unit, for people", "单位"),
    key("absent", Kind::Scalar, "Value where the payload has none of the places", "缺失时的值"),
    key("count", POINTER, "Array whose members are counted", "统计成员数的数组"),
    key("where", Kind::Table(WHERE), "Only these members", "仅统计这些成员"),
];

const WHERE: &[Key] = &[
    key("path", POINTER, "Place in the member", "成员内的位置").required(),
    key("is", Kind::List(&Kind::Scalar), "Values", "取值").required(),
];

const CSV: &[Key] = &[
    key(
        "timestamp",
        Kind::Either(&[Kind::Text, Kind::Table(CSV_TIME)]),
        "Column of the time",
        "时间列",
    ),
    key("device", Kind::Text, "Column of the device's id", "设备标识列"),
    key(
        "device_id",
        Kind::Text,
        "One device for all rows of a recording",
        "录制文件中所有行所属的设备",
    ),
    key("metrics", TEXTS, "Columns of a recording that are metrics", "录制文件中的指标列"),
    key("columns", TEXTS, "Names of the columns where payloads have no head", "报文无表头时的列名"),
    key("separator", Kind::Text, "What stands between two fields", "分隔符"),
    key("bad", BAD, "Values that mean bad quality", "表示质量差的值"),
];

const CSV_TIME: &[Key] = &[
    key("column", Kind::Text, "The column", "列名").required(),
    key("unit", UNIT, "How it is written", "写法").required(),
    key("zone", Kind::Text, "IANA zone of a local time", "本地时间的 IANA 时区"),
];

const SENML: &[Key] =
    &[key("device", Kind::Named(&["name", "topic"]), "What names the device", "设备标识来源")];

const SPARKPLUG: &[Key] = &[
    key("host_id", Kind::Text, "Name of the host application", "主机应用名称"),
    key("rebirth", Kind::Bool, "Ask nodes for their births", "是否请求节点重新上线"),
    key(
        "reorder_timeout",
        Kind::Duration,
        "How long an overtaken message may still come",
        "乱序消息等待时间",
    ),
];

const HTTP: &[Key] = &[
    key(
        "listen",
        Kind::Text,
        "Address and port, e.g. 127.0.0.1:8080",
        "监听地址与端口，例如 127.0.0.1:8080",
    ),
    key(
        "url",
        Kind::Pattern("^https?://.+$"),
        "Address of the console as people reach it, for links in tickets; default: `listen`",
        "控制台对外的地址，用于工单中的链接；默认用 listen",
    ),
    key("hosts", TEXTS, "Names of a proxy in front", "前置代理的主机名"),
];

const DESK: &[Key] =
    &[key("token", Kind::Secret, "What the desk's API asks for", "工单台接口令牌")];

const STORM: &[Key] = &[
    key("enabled", Kind::Bool, "false: every alarm goes its own way", "false 表示不合并"),
    key(
        "by",
        Kind::Words(words::<StormBy>),
        "What storms are told apart by; default site",
        "按什么划分；默认站点",
    ),
    key(
        "enter",
        Kind::Whole(0, 10_000),
        "Begins at more alarms than this; default 10",
        "超过此数开始；默认 10",
    ),
    key(
        "leave",
        Kind::Whole(1, 10_001),
        "Ends at fewer than this; default 5",
        "少于此数结束；默认 5",
    ),
    key("window", Kind::Duration, "Within which time; default 10m", "统计时间；默认 10m"),
];

const LIMITS: &[Key] = &[
    key("max_devices", Kind::Whole(0, 4_294_967_295), "Most devices that are kept", "最大设备数"),
    key(
        "unknown_devices",
        Kind::Words(words::<UnknownDevices>),
        "What becomes of devices that are not registered",
        "未登记设备的处理方式",
    ),
    key(
        "max_backlog",
        Kind::Whole(100, 4_294_967_295),
        "Jobs that wait for the upstreams past which no message is taken in; default 50000",
        "待发任务上限，达到后暂停接收消息；默认 50000",
    ),
    key(
        "max_shelve",
        Kind::Duration,
        "Longest time that an alarm may be shelved; default 24h",
        "报警最长搁置时间；默认 24h",
    ),
];

const STORE: &[Key] = &[
    key("engine", Kind::Named(&["sled"]), "The engine", "存储引擎"),
    key("retention", Kind::Table(RETENTION), "How long things are kept", "保留期限"),
    key(
        "max_disk",
        Kind::Size,
        "What the stores may take before things go sooner, the oldest first; at least 16MiB, default 2GiB",
        "存储占用上限，超出则从最旧的开始提前清理；至少 16MiB，默认 2GiB",
    ),
];

const RETENTION: &[Key] = &[
    key(
        "closed_episodes",
        Kind::Duration,
        "Tickets that are over, acts of people and the digest; default 400d",
        "已结束的工单、操作记录与摘要；默认 400d",
    ),
    key(
        "telemetry",
        Kind::Duration,
        "The gateway keeps no telemetry: checked, and without effect",
        "网关不保存遥测：仅校验，不起作用",
    ),
];
