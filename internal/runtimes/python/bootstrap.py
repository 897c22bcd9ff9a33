"""Mayfly's runtime for Python functions, in the manner of AWS Lambda's.

It is the first process of a sandbox. Standard input and output are the link to
the host; they are moved away before any code of the function runs, so that
prints go to the log. Frames on the link (little endian):

    u32 length of body | u8 kind | u8 zero | u16 length of header | header | body

The process waits for work in a blocking read of the link and nowhere else.
Standard library only, Python 3.8 and later.
"""

import gc
import importlib
import json
import logging
import marshal
import os
import site
import struct
import sys
import time
import traceback

INVOKE, SHUTDOWN, SNAPSHOT, RESTORE = 1, 2, 3, 4
READY, INIT_ERROR, RESPONSE, FAILURE = 16, 17, 18, 19

_PREFIX = struct.Struct("<IBBH")
_READ_SIZE = 65536
_INDENT = "\u00a0"  # how Lambda indents a traceback in the log

_request_id = None  # of the call being served, for log records
_tenant_id = None


class Fault(Exception):
    """An error found by the runtime itself: its type is a word, not a class."""

    def __init__(self, error_type, message, trace=()):
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.trace = list(trace)


class Link:
    """The two ends of the link, on descriptors that children do not inherit."""

    def __init__(self):
        for fd in (0, 1, 2):
            os.set_blocking(fd, True)  # a pipe of the host's event loop may say otherwise
        self.source, self.sink = os.dup(0), os.dup(1)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        self._rest = b""
        os.register_at_fork(after_in_child=self._close)

    def _close(self):
        if self.source >= 0:  # else this is a child's child
            os.close(self.source)
            os.close(self.sink)
            self.source = self.sink = -1

    def receive(self):
        """Return (kind, header, body); ends the process when the host is gone."""
        data = self._rest or os.read(self.source, _READ_SIZE)
        while len(data) < 8:
            data += self._more()
        size, kind, _, head = _PREFIX.unpack_from(data)
        end = 8 + head + size
        if len(data) < end:
            parts, have = [data], len(data)
            while have < end:
                part = self._more(end - have)
                parts.append(part)
                have += len(part)
            data = b"".join(parts)
        self._rest = data[end:]
        return kind, data[8 : 8 + head], data[8 + head : end]

    def _more(self, want=0):
        part = os.read(self.source, max(want, _READ_SIZE))
        if not part:
            sys.exit(0)
        return part

    def send(self, kind, body=b"", header=b""):
        data = _PREFIX.pack(len(body), kind, 0, len(header)) + header + body
        done = os.write(self.sink, data)
        while done < len(data):
            done += os.write(self.sink, data[done : done + (1 << 20)])


# --- answers -----------------------------------------------------------------


def _plain(value, numbers):
    """Return value with named tuples as objects and decimals as marks.

    Lambda's encoder does the first; for the second, the text of each decimal
    goes to numbers, because JSON can hold more digits than a float.
    """
    if _is_decimal(value):
        if value.is_nan():
            return float("nan")
        numbers.append(str(value))
        return "%s%d" % (_MARK, len(numbers) - 1)
    if isinstance(value, dict):
        return {k: _plain(v, numbers) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _plain(value._asdict(), numbers)
    if isinstance(value, (list, tuple)):
        return [_plain(v, numbers) for v in value]
    return value


_MARK = "decimal-" + os.urandom(8).hex() + "-"


def _is_decimal(value):
    decimal = sys.modules.get("decimal")  # slow to import, and often not needed
    return decimal is not None and isinstance(value, decimal.Decimal)


def _default(value):
    if isinstance(value, bytes):
        return value.decode("utf-8")
    raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)


def _encoder():
    # Lambda escapes everything outside ASCII up to Python 3.11, not after.
    name = os.environ.get("AWS_EXECUTION_ENV", "")
    minor = name.rpartition("python3.")[2]
    return json.JSONEncoder(ensure_ascii=minor.isdigit() and int(minor) < 12, default=_default).encode


def marshal_response(value, encode):
    """Return the bytes that answer a call whose handler returned value."""
    if isinstance(value, bytes):
        return value
    numbers = []
    try:
        try:
            marshal.dumps(value, 2)  # fails fast for all but plain values
        except ValueError:
            try:
                value = _plain(value, numbers)
            except RecursionError:
                pass  # a circle: the encoder has the words for it
        text = encode(value)
        for i, number in enumerate(numbers):
            text = text.replace('"%s%d"' % (_MARK, i), number, 1)
        return text.encode("utf-8")
    except Exception as e:
        raise Fault("Runtime.MarshalError", "Unable to marshal response: %s" % e) from None


def _header_value(text):
    return "".join(c for c in text if " " <= c < "\x7f").encode()[:256]


class Failures:
    """Turns what went wrong into error documents, log lines and frames."""

    def __init__(self, link, encode, json_log):
        self._link, self._encode, self._json_log = link, encode, json_log

    def send(self, kind, error, request_id=""):
        document = self._document(error, request_id)
        self._log(document)
        try:
            body = self._encode(document).encode("utf-8")
        except UnicodeEncodeError:
            body = json.dumps(document).encode("ascii")
        error_type = b"Error-Type: " + _header_value(document["errorType"]) + b"\r\n"
        self._link.send(kind, body, error_type)

    def _document(self, error, request_id):
        if isinstance(error, Fault):
            message, error_type, trace = error.message, error.error_type, error.trace
        else:
            error_type, trace = type(error).__name__, _user_frames(error)
            try:
                message = str(error)
            except Exception as e:
                message = "<str() of the exception failed: %s>" % type(e).__name__
        return {
            "errorMessage": message,
            "errorType": error_type,
            "requestId": request_id,
            "stackTrace": trace,
        }

    def _log(self, document):
        if self._json_log:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            line = {"timestamp": now, "log_level": "ERROR"}
            line.update(document)
            write_log(json.dumps(line) + "\n")
            return
        first = "[ERROR] " + document["errorType"]
        if document["errorMessage"]:
            first += ": " + document["errorMessage"]
        lines = [first, "Traceback (most recent call last):"]
        for entry in document["stackTrace"]:
            for line in entry.splitlines():
                text = line.lstrip(" ")
                lines.append(_INDENT * (len(line) - len(text)) + text)
        write_log("\n".join(lines) + "\n")


def _user_frames(error):
    """Format the traceback of error from the first frame that is the function's."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = (__file__, importlib.__file__)
    for i, frame in enumerate(frames):
        if frame.filename not in ours and not frame.filename.startswith("<frozen importlib"):
            break
    else:
        return []
    plain = [(f.filename, f.lineno, f.name, f.line) for f in frames[i:]]
    return traceback.format_list(plain)


# --- logs --------------------------------------------------------------------


def write_log(text):
    """Write text to the log after what was printed before it."""
    try:
        sys.stdout.flush()
    except Exception:
        pass  # the function closed or replaced it
    data = text.encode("utf-8", "backslashreplace")
    while data:
        data = data[os.write(2, data) :]


class LogHandler(logging.Handler):
    log_sink = None  # context.log looks for the handler that has one

    def emit(self, record):
        try:
            write_log(self.format(record))
        except Exception:
            self.handleError(record)


class LogFilter(logging.Filter):
    def filter(self, record):
        record.aws_request_id = _request_id or ""
        record.tenant_id = _tenant_id
        return True


_RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {
    "aws_request_id", "tenant_id", "message", "asctime", "taskName",
}


class JSONFormatter(logging.Formatter):
    def format(self, record):
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "timestamp": "%s.%03dZ" % (seconds, record.msecs),
            "level": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
            "requestId": record.aws_request_id,
        }
        if record.tenant_id is not None:
            line["tenantId"] = record.tenant_id
        if record.exc_info and record.exc_info[0]:
            kind, error, tb = record.exc_info
            line["stackTrace"] = traceback.format_tb(tb)
            line["errorType"] = kind.__name__
            line["errorMessage"] = str(error)
            line["location"] = "%s:%s:%d" % (record.pathname, record.funcName, record.lineno)
        for name, value in vars(record).items():
            if name not in _RECORD_FIELDS and name not in line:
                line[name] = value
        return json.dumps(line, ensure_ascii=False, default=str) + "\n"


def set_up_logging(json_log):
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    handler = LogHandler()
    if json_log:
        handler.setFormatter(JSONFormatter())
    else:
        form = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
        logging.Formatter.converter = time.gmtime
        handler.setFormatter(logging.Formatter(form, "%Y-%m-%dT%H:%M:%S"))
    handler.addFilter(LogFilter())
    root = logging.getLogger()
    root.addHandler(handler)
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
    level = {"TRACE": "DEBUG", "FATAL": "CRITICAL"}.get(level, level)
    if isinstance(logging.getLevelName(level), int):
        root.setLevel(level)


# --- the context object ------------------------------------------------------


class _Named:
    """An object with the fields of its class, set from a dictionary."""

    __slots__ = ()

    def __init__(self, values):
        for name in self.__slots__:
            setattr(self, name, values.get(name))

    def __repr__(self):
        fields = ",".join("%s=%s" % (n, getattr(self, n)) for n in self.__slots__)
        return "%s([%s])" % (type(self).__name__, fields)


class Client(_Named):
    __slots__ = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")


class ClientContext(_Named):
    __slots__ = ("custom", "env", "client")

    def __init__(self, values):
        super().__init__(values)
        if self.client is not None:
            self.client = Client(self.client)


class CognitoIdentity(_Named):
    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")


def _parse_header(header, key, name):
    text = header.get(key)
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError as e:
        raise Fault("Runtime.LambdaContextUnmarshalError", "Unable to parse %s JSON: %s" % (name, e)) from None


class LambdaContext:
    """What a handler gets as its second argument."""

    def __init__(self, fixed, header):
        self.__dict__.update(fixed)
        self.aws_request_id = header.get("Lambda-Runtime-Aws-Request-Id")
        self.invoked_function_arn = header.get("Lambda-Runtime-Invoked-Function-Arn")
        self.tenant_id = header.get("Lambda-Runtime-Aws-Tenant-Id")
        self._epoch_deadline_time_in_ms = int(header.get("Lambda-Runtime-Deadline-Ms", 0))
        client = _parse_header(header, "Lambda-Runtime-Client-Context", "Client Context")
        self.client_context = None if client is None else ClientContext(client)
        identity = _parse_header(header, "Lambda-Runtime-Cognito-Identity", "Cognito Identity") or {}
        self.identity = CognitoIdentity({
            "cognito_identity_id": identity.get("cognitoIdentityId"),
            "cognito_identity_pool_id": identity.get("cognitoIdentityPoolId"),
        })

    def get_remaining_time_in_millis(self):
        return max(0, self._epoch_deadline_time_in_ms - int(time.time() * 1000))

    def log(self, msg):
        write_log(str(msg))

    def __repr__(self):
        fields = ",".join("%s=%s" % kv for kv in vars(self).items() if not kv[0].startswith("_"))
        return "LambdaContext([%s])" % fields


def fixed_context():
    """The part of the context that is the same for all calls of an instance."""
    env = os.environ.get
    return {
        "aws_request_id": None,
        "log_group_name": env("AWS_LAMBDA_LOG_GROUP_NAME"),
        "log_stream_name": env("AWS_LAMBDA_LOG_STREAM_NAME"),
        "function_name": env("AWS_LAMBDA_FUNCTION_NAME"),
        "memory_limit_in_mb": env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
        "function_version": env("AWS_LAMBDA_FUNCTION_VERSION"),
    }


# --- the handler -------------------------------------------------------------


def set_up_path():
    """Make the function's code, then its layers, importable before all else."""
    task = os.environ["LAMBDA_TASK_ROOT"]
    layers = ["/opt/python/lib/python%d.%d/site-packages" % sys.version_info[:2], "/opt/python"]
    sys.path[:1] = [task] + layers  # in place of this file's directory, which PYTHONPATH holds
    for directory in [task] + layers:
        site.addsitedir(directory)  # for .pth files


def load_handler(name):
    """Return the function that name ("pkg.mod.fn", "dir/file.fn") stands for."""
    try:
        module_name, function_name = name.rsplit(".", 1)
    except ValueError as e:
        raise Fault("Runtime.MalformedHandlerName", "Bad handler '%s': %s" % (name, e)) from None
    path = module_name.replace("/", ".")
    if path.split(".")[0] in sys.builtin_module_names:
        raise Fault(
            "Runtime.BuiltInModuleConflict",
            "Cannot use built-in module %s as a handler module" % module_name,
        )
    try:
        module = importlib.import_module(path)
    except ImportError as e:
        raise Fault("Runtime.ImportModuleError", "Unable to import module '%s': %s" % (module_name, e)) from None
    except SyntaxError as e:
        where = '  File "%s" Line %s\n    %s' % (e.filename, e.lineno, e.text)
        raise Fault("Runtime.UserCodeSyntaxError", "Syntax error in module '%s': %s" % (module_name, e), [where]) from None
    try:
        return getattr(module, function_name)
    except AttributeError:
        raise Fault(
            "Runtime.HandlerNotFound", "Handler '%s' missing on module '%s'" % (function_name, module_name)
        ) from None


# --- the loop ----------------------------------------------------------------


def parse_header(data):
    header = {}
    for line in data.decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(": ")
        if colon:
            header[name] = value
    return header


def main(argv):
    limit = int(argv[1])  # bytes that an answer may have
    del argv[1:]
    link = Link()
    json_log = os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
    encode = _encoder()
    failures = Failures(link, encode, json_log)
    try:
        set_up_logging(json_log)
        set_up_path()
        handler = load_handler(os.environ["_HANDLER"])
    except Exception as e:
        failures.send(INIT_ERROR, e)
        sys.exit(1)
    fixed = fixed_context()
    gc.freeze()  # what init made stays: collections need not look at it
    link.send(READY)
    serve(link, handler, fixed, encode, failures, limit)


def around_snapshot(link, kind, head, failures):
    """Do what comes before a snapshot, or in a copy; return the fixed context."""
    global _MARK
    import mayfly_copies

    try:
        if kind == SNAPSHOT:
            mayfly_copies.before_snapshot()
        else:
            mayfly_copies.after_restore(parse_header(head))
    except Exception as e:
        failures.send(INIT_ERROR, e)
        sys.exit(1)
    _MARK = "decimal-" + os.urandom(8).hex() + "-"
    link.send(READY)
    return fixed_context()


def serve(link, handler, fixed, encode, failures, limit):
    """Answer calls until the host ends it."""
    global _request_id, _tenant_id
    environ = os.environ
    decode = json.JSONDecoder().decode
    while True:
        kind, head, body = link.receive()
        if kind != INVOKE:
            if kind == SHUTDOWN:
                return
            if kind in (SNAPSHOT, RESTORE):
                fixed = around_snapshot(link, kind, head, failures)
                continue
            sys.exit("mayfly: the host sent a frame of unknown kind %d" % kind)
        header = parse_header(head)
        _request_id = header.get("Lambda-Runtime-Aws-Request-Id", "")
        _tenant_id = header.get("Lambda-Runtime-Aws-Tenant-Id")
        trace = header.get("Lambda-Runtime-Trace-Id")
        if trace is not None:
            environ["_X_AMZN_TRACE_ID"] = trace
        else:
            environ.pop("_X_AMZN_TRACE_ID", None)
        try:
            context = LambdaContext(fixed, header)
            try:
                event = decode(body.decode("utf-8", "surrogatepass"))
            except ValueError as e:
                raise Fault("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % e) from None
            answer = marshal_response(handler(event, context), encode)
            if len(answer) > limit:
                raise Fault(
                    "Function.ResponseSizeTooLarge",
                    "Response payload size exceeded maximum allowed payload size (%d bytes)." % limit,
                )
        except Exception as e:
            failures.send(FAILURE, e, _request_id)
        else:
            try:
                sys.stdout.flush()  # a print without a newline belongs to this call
            except Exception:
                pass  # the function closed or replaced it
            link.send(RESPONSE, answer)
        context = event = answer = None  # held no longer than on Lambda


if __name__ == "__main__":
    main(sys.argv)
