//! Keys of `[[upstream]]`.

use super::{Key, Kind, SECRET, key, words};
use crate::engine::types::severity::Severity;
use crate::engine::types::ticket::TicketStatus;
use crate::io::upstream::words::{Algorithm, Class, Confirm, Encoding, Once, PagingStyle};
use crate::io::upstream::{KINDS, Op};

/// One `[[upstream]]`.
pub(super) const UPSTREAM: &[Key] = &[
    key("name", Kind::Text, "Name, which rules refer to", "名称，供规则引用").required(),
    key("kind", Kind::Named(&KINDS), "What it is", "类型").required(),
    key("url", Kind::Pattern("^https?://.+$"), "Its address", "地址"),
    key("token", Kind::Secret, "Token of its API", "接口令牌"),
    key("rate", Kind::Table(RATE), "How fast it may be called", "调用速率"),
    key("max_in_flight", Kind::Whole(1, 1_024), "Calls under way at once", "同时进行的调用数"),
    key(
        "poll",
        Kind::Duration,
        "How often it is asked for changes, at least 1s",
        "轮询间隔，至少 1s",
    ),
    key("plots", Kind::Bool, "New tickets get a plot of the last values", "新工单附带曲线图"),
    key("queue", TEXT, "Queue of rules that name none", "规则未指定时的队列"),
    key("key_field", TEXT, "Where the external key is kept", "外部键所在的字段"),
    key("timezone", Kind::Text, "IANA zone of the times in templates", "模板中时间的 IANA 时区"),
    key("headers", Kind::Open(&[], &HEADER), "Sent with every request", "每个请求的请求头"),
    key("vars", SCALARS, "Names of your own for templates", "模板自定义变量"),
    key("secrets", Kind::Open(&[], &SECRET), "Secrets for templates", "模板可用的密钥"),
    key("severity", SEVERITIES, "Priority of each severity", "各严重程度的优先级"),
    key("status", Kind::Open(&[], &STATUS), "Their status in our words", "对方状态的含义"),
    key("unknown_status", STATUS, "What any other status means", "未列出的状态的含义"),
    key("set_status", SET_STATUS, "What is written for a status of ours", "写入对方的状态值"),
    key("queues", SCALARS, "Our queues in their words", "队列对照"),
    key("people", SCALARS, "Our people in their words", "人员对照"),
    key("auth", Kind::Table(AUTH), "How requests are authorised", "鉴权方式"),
    key("sign", Kind::Table(SIGN), "A signature over each request", "请求签名"),
    key("once", Kind::Table(ONCE), "What keeps a create from doubling", "防止重复建单的方式"),
    key("limits", Kind::Table(LIMITS), "Lengths of texts, pace of calls", "文本长度与调用节奏"),
    key("errors", Kind::Table(ERRORS), "What answers mean", "应答含义"),
    key("webhook", Kind::Table(WEBHOOK), "What it tells by itself", "对方主动通知"),
    key("create", Kind::Table(ACTION), "Opens a ticket", "建单"),
    key("find", LIST, "Finds the ticket that carries our key", "按外部键查找工单"),
    key("comment", ACTION_OR_NONE, "Adds a comment", "添加备注"),
    key("escalate", ACTION_OR_NONE, "Raises the priority, assigns", "升级与指派"),
    key("resolve", ACTION_OR_NONE, "The fault is over", "解决"),
    key("reopen", ACTION_OR_NONE, "The fault is back", "重开"),
    key("attach", ACTION_OR_NONE, "Adds a file", "添加附件"),
    key("get", ACTION_OR_NONE, "Reads one ticket", "读取工单"),
    key("ready", ACTION_OR_NONE, "Whether a queue can take tickets", "队列是否可用"),
    key("rekey", ACTION_OR_NONE, "Writes a lost key again", "重写丢失的外部键"),
    key("whoami", ACTION_OR_NONE, "Who the credentials belong to", "凭据属于谁"),
    key("twin", LIST, "Tickets of ours without their key", "丢失外部键的工单"),
    key("changes", CHANGES, "What people have done", "人员操作轮询"),
];

const TEXT: Kind = Kind::Either(&[Kind::Text, Kind::Number]);
const TEXTS: Kind = Kind::List(&Kind::Text);
const TEMPLATE: Kind = Kind::Scalar;
const TEMPLATES: Kind = Kind::Open(&[], &TEMPLATE);
const SCALARS: Kind = Kind::Open(&[], &Kind::Scalar);
const HEADER: Kind = Kind::Either(&[TEMPLATE, SECRET]);
const STATUS: Kind = Kind::Words(statuses);
const SEVERITIES: Kind = Kind::Each(words::<Severity>, &Kind::Scalar);
const SET_STATUS: Kind = Kind::Each(statuses, &Kind::Scalar);
const CODES: Kind = Kind::List(&Kind::Whole(100, 599));
const CONDITIONS: Kind = Kind::Either(&[Kind::Text, TEXTS]);
const OPERATIONS: Kind = Kind::List(&Kind::Words(words::<Op>));
const EXTRACT: Kind = Kind::Either(&[Kind::Text, Kind::Table(VALUE)]);

fn statuses() -> Vec<&'static str> {
    TicketStatus::ALL.into_iter().map(TicketStatus::word).collect()
}

const VALUE: &[Key] = &[
    key("header", Kind::Text, "Header of the answer", "应答头"),
    key("place", Kind::Text, "Place in the answer", "应答中的位置"),
    key("pattern", Kind::Text, "First group of this pattern", "取正则的第一组"),
];

const RATE: &[Key] = &[
    key("per_second", Kind::Number, "Calls a second", "每秒调用数"),
    key("burst", Kind::Number, "Calls at once", "突发调用数"),
];

const REQUEST: &[Key] = &[
    key("method", Kind::Named(METHODS), "Method", "方法"),
    key("path", TEMPLATE, "Path below `url`, or a whole address", "相对路径或完整地址").required(),
    key("query", TEMPLATES, "Query", "查询参数"),
    key("headers", TEMPLATES, "Headers", "请求头"),
];

const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];

const PART: &[Key] = &[
    key("name", Kind::Text, "Name", "名称").required(),
    key("filename", TEMPLATE, "File name", "文件名"),
    key("type", TEMPLATE, "Type", "类型"),
    key("value", TEMPLATE, "Value", "值"),
    key("file", Kind::Bool, "The bytes of the file instead", "改为文件内容"),
];

const ALREADY: &[Key] = &[
    key("path", TEMPLATE, "Path", "路径").required(),
    key("query", TEMPLATES, "Query", "查询参数"),
    key("items", TEMPLATE, "Where the items are", "列表位置").required(),
    key("place", TEMPLATE, "Place in an item", "条目内的位置").required(),
    key("contains", TEMPLATE, "What stands there; default {{ mark }}", "该处应包含的文本"),
];

const LOCK: &[Key] = &[
    key("version", EXTRACT, "Where `get` has the version", "版本号位置"),
    key("stale", CODES, "Codes that say it is not the newest", "表示版本过期的状态码"),
];

/// A table with the keys of a step, and these.
macro_rules! step_and {
    ($($more:expr),* $(,)?) => {
        &[
            key("request", Kind::Table(REQUEST), "Method, path, query, headers", "请求"),
            key("body", TEMPLATE, "Body", "请求体"),
            key("type", Kind::Text, "Type of the body; default application/json", "请求体类型"),
            key("form", TEMPLATES, "Body as a form", "表单"),
            key("multipart", Kind::Tables(PART), "Body in parts", "多段请求体"),
            key("graphql", Kind::Text, "GraphQL query", "GraphQL 查询"),
            key("variables", TEMPLATE, "Its variables as JSON", "GraphQL 变量"),
            key("file", Kind::Bool, "The body is the file", "请求体为文件内容"),
            key("keep_null", Kind::Bool, "Send members that are null", "保留空值成员"),
            key("ok", CODES, "Codes of success", "成功状态码"),
            key("ok_if", CONDITIONS, "What must hold", "必须成立的条件"),
            key("fail_if", CONDITIONS, "What is a failure", "视为失败的条件"),
            key("hint", TEMPLATE, "What to do about a failure", "失败时的处理提示"),
            key("when", TEMPLATE, "Made only if this holds", "执行条件"),
            key("optional", Kind::Bool, "Its failure stops nothing", "失败不影响后续步骤"),
            key("already", Kind::Table(ALREADY), "Whether it was made already", "是否已执行"),
            key("capture", Kind::Open(&[], &EXTRACT), "Values for later steps", "供后续步骤使用的值"),
            key("lock", Kind::Table(LOCK), "Optimistic locking", "乐观锁"),
            $($more),*
        ]
    };
}

const STEP: &[Key] = step_and![];

const ACTION: &[Key] = step_and![
    key("step", Kind::Tables(STEP), "Several requests", "多个步骤"),
    key("id", EXTRACT, "Where the ticket's id is", "工单编号位置"),
    key("verify", TEMPLATES, "What must stand in the ticket afterwards", "写后核对"),
];

const ACTION_OR_NONE: Kind = Kind::Either(&[Kind::Named(&["none"]), Kind::Table(ACTION)]);

const LIST: Kind = Kind::Either(&[
    Kind::Named(&["none"]),
    Kind::Table(step_and![
        key("step", Kind::Tables(STEP), "Several requests", "多个步骤"),
        key("id", EXTRACT, "Where an item has its id", "条目编号位置"),
        key("verify", TEMPLATES, "What must stand in the ticket afterwards", "写后核对"),
        key("items", TEMPLATE, "Where the items are", "列表位置"),
        key("empty_if", Kind::Text, "Answers that mean none", "表示无结果的条件"),
        key("paging", Kind::Table(PAGING), "How the next page is had", "分页"),
        key("key", EXTRACT, "Where an item has our key", "条目中外部键的位置"),
    ]),
]);

const CHANGES: Kind = Kind::Either(&[
    Kind::Named(&["none"]),
    Kind::Table(step_and![
        key("step", Kind::Tables(STEP), "Several requests", "多个步骤"),
        key("id", EXTRACT, "Where an item has the ticket's id", "工单编号位置"),
        key("verify", TEMPLATES, "What must stand in the ticket afterwards", "写后核对"),
        key("items", TEMPLATE, "Where the items are", "列表位置"),
        key("empty_if", Kind::Text, "Answers that mean none", "表示无结果的条件"),
        key("paging", Kind::Table(PAGING), "How the next page is had", "分页"),
        key("updated", EXTRACT, "Time of the change", "变更时间"),
        key("distinct", EXTRACT, "What tells a change from others", "区分变更的值"),
        key("cursor", EXTRACT, "What only grows, to go on from", "递增游标"),
        key("status", EXTRACT, "Their status", "对方状态"),
        key("by", EXTRACT, "Who has done it", "操作人"),
        key("fetch_if", Kind::Text, "Read the ticket first", "先读取工单的条件"),
        key("ignore_if", Kind::Text, "Tells nothing", "忽略条件"),
        key("overlap", Kind::Duration, "How far a look goes back", "回看时长"),
    ]),
]);

const PAGING: &[Key] = &[
    key("style", Kind::Words(words::<PagingStyle>), "Style", "方式").required(),
    key("size", Kind::Whole(1, 4_294_967_295), "Items of a page", "每页条数"),
    key("pages_max", Kind::Whole(1, 1_000), "Most pages of a look", "最多页数"),
    key("first", Kind::Whole(0, 4_294_967_295), "Number of the first page", "首页页码"),
    key("next", EXTRACT, "Cursor or address of the next page", "下一页游标或地址"),
];

const AUTH: &[Key] = &[
    key(
        "kind",
        Kind::Named(&["header", "basic", "query", "body", "cookie", "oauth2", "login"]),
        "Kind",
        "方式",
    )
    .required(),
    key("secret", Kind::Secret, "The credential", "凭据"),
    key(
        "name",
        Kind::Text,
        "Header, parameter, member or cookie",
        "请求头、参数、成员或 Cookie 名",
    ),
    key("prefix", Kind::Text, "What stands before it", "前缀"),
    key("user", Kind::Text, "User", "用户名"),
    key("password", Kind::Secret, "Password", "密码"),
    key("token_url", Kind::Text, "Where tokens are had", "令牌地址"),
    key("client_id", Kind::Text, "Client", "客户端标识"),
    key("client_secret", Kind::Secret, "Its secret", "客户端密钥"),
    key("fields", Kind::Open(&[], &Kind::Text), "Further fields, such as scope", "其他字段"),
    key("basic", Kind::Bool, "Client and secret as Basic", "以 Basic 发送客户端凭据"),
    key("login", Kind::Table(STEP), "The request that logs in", "登录请求"),
    key("token", EXTRACT, "Where its answer has the credential", "登录应答中凭据的位置"),
    key("lasts", Kind::Duration, "How long it is good", "有效时长"),
    key(
        "carrier",
        Kind::Named(&["header", "query", "body", "cookie"]),
        "Where it goes",
        "放置位置",
    ),
    key("stale", CODES, "Codes that say it is not good any more", "表示失效的状态码"),
    key("stale_if", CONDITIONS, "What says so whatever the code", "表示失效的条件"),
];

const SIGN: &[Key] = &[
    key("algorithm", Kind::Words(words::<Algorithm>), "Function", "算法").required(),
    key("encoding", Kind::Words(words::<Encoding>), "How it is written", "编码"),
    key("key", TEMPLATE, "Key of an HMAC", "HMAC 密钥"),
    key("over", TEMPLATE, "What is signed", "签名内容").required(),
    key("headers", TEMPLATES, "Where it goes", "放入请求头"),
    key("query", TEMPLATES, "Where it goes", "放入查询参数"),
    key("body", TEMPLATES, "Where it goes", "放入请求体"),
    key("operations", OPERATIONS, "Only these operations", "仅这些操作"),
];

const ONCE: &[Key] = &[
    key("by", Kind::Words(words::<Once>), "In which way", "方式"),
    key("search_lag", Kind::Duration, "How far the search may be behind", "检索延迟"),
    key("confirm", Kind::Words(words::<Confirm>), "Search for new tickets", "建单后核对"),
    key("duplicate_id", EXTRACT, "Id in an answer that says it is there", "重复应答中的编号"),
];

const LENGTH: Kind = Kind::Table(&[
    key("chars", Kind::Whole(1, 4_294_967_295), "Characters", "字符数"),
    key("bytes", Kind::Whole(1, 4_294_967_295), "Bytes of UTF-8", "字节数"),
]);

const LIMITS: &[Key] = &[
    key("title", LENGTH, "Longest title", "标题长度上限"),
    key("body", LENGTH, "Longest body", "正文长度上限"),
    key("comment", LENGTH, "Longest comment", "备注长度上限"),
    key(
        "operations",
        Kind::Each(words::<Op>, &Kind::Table(RATE)),
        "Pace by operation",
        "各操作速率",
    ),
    key("critical_share", Kind::Number, "Share of the burst for critical tickets", "紧急预留比例"),
    key("reset_headers", TEXTS, "Headers that say when to go on", "恢复时间应答头"),
    key("remaining_headers", TEXTS, "Headers that say what is left", "剩余次数应答头"),
    key("penalty", Kind::Duration, "Pause after a 429 that says nothing", "429 后的暂停"),
    key("timeout", Kind::Duration, "Time for one request", "单次请求时限"),
];

const ERRORS: &[Key] = &[
    key("fail_if", CONDITIONS, "Failures whatever the code says", "视为失败的条件"),
    key("message", CONDITIONS, "Where answers say what is wrong", "错误说明的位置"),
    key("rule", Kind::Tables(RULE), "The first that fits decides", "首个匹配的规则生效"),
];

const RULE: &[Key] = &[
    key("status", CODES, "Codes", "状态码"),
    key("if", CONDITIONS, "What must hold", "条件"),
    key("operations", OPERATIONS, "Operations", "操作"),
    key("class", Kind::Words(words::<Class>), "What it means", "含义").required(),
    key("wait", Kind::Duration, "Pause of the upstream", "暂停时长"),
    key("hint", TEMPLATE, "What to do", "处理提示"),
];

const WEBHOOK: &[Key] = &[
    key("algorithm", Kind::Words(words::<Algorithm>), "Function", "算法"),
    key("encoding", Kind::Words(words::<Encoding>), "How it is written", "编码"),
    key("secret", Kind::Secret, "Key of the signature", "签名密钥"),
    key("token", Kind::Secret, "A token instead of a signature", "令牌"),
    key("secret_path", Kind::Secret, "End of the path instead of both", "秘密路径"),
    key("header", Kind::Text, "Header of the signature or token", "签名或令牌所在的请求头"),
    key("prefix", Kind::Text, "What stands before it", "前缀"),
    key("over", TEMPLATE, "What is signed; default {{ body }}", "签名内容"),
    key("timestamp", Kind::Text, "Header with the time of signing", "签名时间所在的请求头"),
    key("max_age", Kind::Duration, "Greatest age", "最大时差"),
    key("delivery", Kind::Text, "Header with the id of the delivery", "投递编号所在的请求头"),
    key("ticket", EXTRACT, "Where the ticket's id is", "工单编号位置").required(),
    key("status", EXTRACT, "Where its status is", "状态位置"),
    key("by", EXTRACT, "Who has done it", "操作人位置"),
    key("ignore_if", CONDITIONS, "What tells nothing", "忽略条件"),
    key("fetch", Kind::Bool, "Read the ticket instead of believing", "改为读取工单"),
    key("challenge", EXTRACT, "What is sent back when the address is tried", "地址校验回显"),
];
