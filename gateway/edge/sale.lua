-- Finds the sale of a gRPC call, for the rate limits per sale. Over REST the path contains the sale.
--
-- The sale is in the first field, `parent` or `name`, of every request that names one: `sales/{sale}...`. Every
-- protobuf library writes fields in order, so it is at the beginning of the message. Messages that cannot be read
-- this way, such as compressed ones, share the limits of one sale.

local UNCOMPRESSED, FIRST_FIELD = 0, 0x0A
-- The header of the frame, the field's tag and length, and the longest name.
local HEAD_BYTES = 5 + 3 + 139

local function sale_of(head)
  local compressed, tag, length = head:byte(1), head:byte(6), head:byte(7)
  if compressed ~= UNCOMPRESSED or tag ~= FIRST_FIELD or length == nil then
    return nil
  end
  local first = 8
  if length > 127 then
    -- A length of two bytes, the lower seven bits first.
    length, first = length - 128 + 128 * (head:byte(8) or 0), 9
  end
  return head:sub(first, first + length - 1):match("^sales/([^/]+)")
end

function envoy_on_request(request)
  local body = request:body()
  if body == nil then
    return
  end
  local sale = sale_of(body:getBytes(0, math.min(body:length(), HEAD_BYTES)))
  request:streamInfo():dynamicMetadata():set("holdfast", "sale", sale or "?")
end
