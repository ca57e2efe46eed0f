// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRollup} from "./IRollup.sol";
import {Bn254} from "./libraries/Bn254.sol";
import {Challenges} from "./libraries/Challenges.sol";
import {Groth16} from "./libraries/Groth16.sol";
import {Keys} from "./libraries/Keys.sol";
import {Kzg} from "./libraries/Kzg.sol";
import {Words} from "./libraries/Words.sol";

interface IErc20 {
    function balanceOf(address account) external view returns (uint256);
}

/// @title The L1 side of a Sheaf rollup
/// @dev See `IRollup` for what every entry point does. Order in here: storage, constructor, users, operator, anybody, views, internals; in every function
/// checks, then effects, then calls to others.
contract Rollup is IRollup {
    /// Number of the native coin.
    uint16 private constant NATIVE = 1;
    uint8 private constant DEPOSIT = 1;
    uint256 private constant MAX_QUEUE_FEE = 0.1 ether;
    /// A token's supply inside the rollup stays below.
    uint256 private constant SUPPLY_CAP = 1 << 112;
    uint256 private constant W0_CAP = 1 << 56;
    uint256 private constant ADDRESS_CAP = 1 << 160;
    /// Deadlines of entries that lie a full circuit apart differ by at least this.
    uint256 private constant QUEUE_PERIOD = 1 hours;

    uint256 public immutable override domain;
    uint256 public immutable override k;
    address public immutable override operator;
    uint256 public immutable override listingFee;
    uint256 public immutable override queueFee;
    uint256 public immutable override forceTimeout;
    uint256 public immutable override proveTimeout;
    uint256 public immutable override queueRate;
    uint256 public immutable override circuitCount;
    address public immutable override keys;

    bytes32 public override stateRoot;
    bytes32 public override committedRoot;
    /// One slot: what a commit and a proof move.
    uint64 private committedNumber;
    uint64 private provenNumber;
    uint64 private pendingTime;
    uint16 private lastToken;
    /// One slot: the queue's end and its two pointers.
    uint64 private queueEnd;
    uint64 private queueCommittedEnd;
    uint64 private queueProvenEnd;

    mapping(uint256 number => bytes32) public override batchHash;
    mapping(uint256 index => bytes32) public override queueDigest;
    mapping(uint256 index => uint256) public override queueDeadline;
    mapping(uint256 number => mapping(uint256 word => uint256)) private settledBits;
    mapping(uint16 token => address) public override tokenAddress;
    mapping(address erc20 => uint16) public override tokenId;
    mapping(uint16 token => mapping(address account => uint256)) public override claimable;
    mapping(uint16 token => uint256) public override escrow;
    uint256 public override feesEarned;

    bool private transient entered;

    /// Nothing here may be entered while a token or a recipient is being called.
    modifier nonReentrant() {
        if (entered) revert Reentered();
        entered = true;
        _;
        entered = false;
    }

    constructor(Params memory params) {
        if (params.k < Keys.MIN_K || params.k > Keys.MAX_K) revert StateSizeOutOfRange(params.k);
        if (params.operator == address(0)) revert OperatorIsZero();
        if (params.queueFee > MAX_QUEUE_FEE) revert QueueFeeTooHigh(params.queueFee);
        requireTimeout(params.forceTimeout);
        requireTimeout(params.proveTimeout);
        domain = Challenges.domain(block.chainid, address(this));
        k = params.k;
        operator = params.operator;
        listingFee = params.listingFee;
        queueFee = params.queueFee;
        forceTimeout = params.forceTimeout;
        proveTimeout = params.proveTimeout;
        keys = Keys.store(params, domain);
        circuitCount = params.circuits.length;
        uint256 rate;
        for (uint256 i; i < params.circuits.length; ++i) {
            if (params.circuits[i].shape.deposits > rate) rate = params.circuits[i].shape.deposits;
        }
        queueRate = rate;
        uint256[6] memory empty;
        stateRoot = keccak256(abi.encode(params.k, empty));
        committedRoot = stateRoot;
        lastToken = NATIVE;
    }

    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Users
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    function deposit(uint256 key, address owner) external payable nonReentrant {
        if (msg.value < queueFee) revert WrongFee(msg.value, queueFee);
        enqueueDeposit(NATIVE, msg.value - queueFee, key, owner);
    }

    function depositToken(uint16 token, uint256 amount, uint256 key, address owner) external payable nonReentrant {
        if (msg.value != queueFee) revert WrongFee(msg.value, queueFee);
        address erc20 = tokenAddress[token];
        if (erc20 == address(0)) revert TokenNotListed(token);
        // what arrived counts, not what was asked for: some tokens take a fee
        uint256 before = IErc20(erc20).balanceOf(address(this));
        callToken(token, erc20, abi.encodeWithSignature("transferFrom(address,address,uint256)", msg.sender, address(this), amount));
        uint256 afterwards = IErc20(erc20).balanceOf(address(this));
        enqueueDeposit(token, afterwards > before ? afterwards - before : 0, key, owner);
    }

    function listToken(address erc20) external payable nonReentrant returns (uint16 id) {
        if (msg.value != listingFee) revert WrongFee(msg.value, listingFee);
        if (erc20.code.length == 0) revert TokenHasNoCode(erc20);
        if (tokenId[erc20] != 0) revert TokenAlreadyListed(tokenId[erc20]);
        if (lastToken == type(uint16).max) revert TokenRegistryFull();
        id = ++lastToken;
        tokenAddress[id] = erc20;
        tokenId[erc20] = id;
        feesEarned += msg.value;
        emit TokenListed(id, erc20);
    }

    function claim(uint16 token, address to) external nonReentrant {
        uint256 amount = claimable[token][msg.sender];
        if (amount == 0) revert NothingToClaim();
        if (to == address(0)) revert RecipientIsZero();
        uint256 held = escrow[token];
        if (amount > held) revert EscrowExceeded(token, amount, held);
        claimable[token][msg.sender] = 0;
        escrow[token] = held - amount;
        emit Claimed(msg.sender, token, amount, to);
        if (token == NATIVE) {
            payNative(to, amount);
        } else {
            callToken(token, tokenAddress[token], abi.encodeWithSignature("transfer(address,uint256)", to, amount));
        }
    }

    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Operator
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    function commit(Commit calldata batch) external nonReentrant {
        if (msg.sender != operator) revert NotOperator();
        if (msg.sender != tx.origin || msg.sender.code.length != 0) revert NotOutermostCall();
        uint256 expected = uint256(committedNumber) + 1;
        if (batch.number != expected) revert WrongNumber(batch.number, expected);
        requireCircuit(batch.circuit);
        requirePoints(batch);
        Shape memory shape = Keys.readShape(keys, batch.circuit);
        takeEntries(batch);
        uint256[] memory words = buildWords(batch, shape);

        Record memory record;
        record.header = headerOf(batch, words);
        record.cq = batch.cq;
        uint256 zeta = Challenges.zeta(Challenges.rho(domain, keccak256(abi.encode(record.header))), batch.cq);
        record.yDa = Words.posted(batch.data, shape, zeta);
        record.yOps = Words.built(words, batch.withdrawals.length, shape, zeta);

        bytes32 hash = keccak256(abi.encode(record));
        bytes32 root = Challenges.stateRoot(k, batch.commitments);
        batchHash[expected] = hash;
        committedRoot = root;
        committedNumber = uint64(expected);
        if (pendingTime == 0) pendingTime = uint64(block.timestamp);
        emit Committed(expected, batch.circuit, hash, root);
    }

    function claimFees(address to) external nonReentrant {
        if (msg.sender != operator) revert NotOperator();
        if (to == address(0)) revert RecipientIsZero();
        uint256 amount = feesEarned;
        if (amount == 0) revert NothingToClaim();
        feesEarned = 0;
        payNative(to, amount);
    }

    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Anybody
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    /// What one call of `prove` gathers.
    struct Proving {
        bytes32 root;
        uint256 seed;
        uint256 taken;
        Bn254.Pairs pairs;
        Groth16.Sum[] circuits;
        Kzg.Sum kzg;
    }

    function prove(uint256[6] calldata oldCommitments, BatchProof[] calldata batches) external nonReentrant {
        uint256 first = firstUnproven(batches);
        uint256[6] calldata before = first == 0 ? oldCommitments : batches[first - 1].record.header.commitments;
        Proving memory p;
        p.root = stateRoot;
        if (Challenges.stateRoot(k, before) != p.root) revert OldCommitmentsMismatch();
        // every proof, opening and record lies in this calldata, so the weights depend on all of them
        p.seed = uint256(keccak256(msg.data));
        p.pairs = Bn254.newPairs(batches.length - first + circuitCount + 3);
        p.circuits = new Groth16.Sum[](circuitCount);
        uint256 number = provenNumber;
        for (uint256 i = first; i < batches.length; ++i) {
            BatchProof calldata batch = batches[i];
            checkBatch(p, batch, ++number);
            addBatch(p, before, batch, i - first);
            before = batch.record.header.commitments;
            p.root = Challenges.stateRoot(k, before);
            p.taken += batch.record.header.taken;
            emit Proven(number, p.root);
        }
        if (!holds(p, before)) revert ProofInvalid();

        stateRoot = p.root;
        provenNumber = uint64(number);
        pendingTime = number == committedNumber ? 0 : uint64(block.timestamp);
        if (p.taken > 0) {
            queueProvenEnd += uint64(p.taken);
            feesEarned += p.taken * queueFee;
        }
    }

    function settle(Record calldata record, uint256[] calldata choices, uint256[] calldata words, uint256 first, uint256 count) external nonReentrant {
        uint256 number = record.header.number;
        if (number == 0 || number > provenNumber) revert NotProven(number);
        if (Challenges.recordHash(record) != batchHash[number]) revert RecordMismatch(number);
        if (keccak256(abi.encode(choices, words)) != record.header.opsHash) revert OperationsMismatch(number);
        uint256 withdrawals = (words.length - Words.DEPOSIT_WORDS * depositsIn(choices)) / Words.WITHDRAWAL_WORDS;
        uint256 items = withdrawals + choices.length;
        if (first > items || count > items - first) revert ItemOutOfRange(first, items);
        uint256 end = first + count < withdrawals ? first + count : withdrawals;
        bool any;
        for (uint256 item = first; item < end; ++item) {
            if (!mark(number, item)) continue;
            any = true;
            uint256 w0 = words[Words.WITHDRAWAL_WORDS * item];
            // an unused slot names slot 0 and has no amount
            if (w0 & 0xffffff == 0) continue;
            credit(address(uint160(words[Words.WITHDRAWAL_WORDS * item + 2])), uint16(w0 >> 24), words[Words.WITHDRAWAL_WORDS * item + 1], number);
        }
        if (!any) revert NothingToSettle();
    }

    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Views
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    function committed() external view returns (uint256) {
        return committedNumber;
    }

    function proven() external view returns (uint256) {
        return provenNumber;
    }

    function pendingSince() external view returns (uint256) {
        return pendingTime;
    }

    function queueLength() external view returns (uint256) {
        return queueEnd;
    }

    function queueCommitted() external view returns (uint256) {
        return queueCommittedEnd;
    }

    function queueProven() external view returns (uint256) {
        return queueProvenEnd;
    }

    function settled(uint256 number, uint256 item) external view returns (bool) {
        return settledBits[number][item >> 8] >> (item & 255) & 1 == 1;
    }

    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Internals: queue and coins
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    function requireTimeout(uint256 timeout) private pure {
        if (timeout == 0 || timeout > type(uint32).max) revert TimeoutOutOfRange(timeout);
    }

    function enqueueDeposit(uint16 token, uint256 amount, uint256 key, address owner) private {
        if (key == 0 || key >= Bn254.R) revert KeyOutOfRange(key);
        if (owner == address(0)) revert OwnerIsZero();
        if (amount == 0) revert NothingDeposited();
        uint256 held = escrow[token];
        if (amount >= SUPPLY_CAP || held + amount >= SUPPLY_CAP) revert SupplyCapReached(token);
        escrow[token] = held + amount;
        uint256 index = ++queueEnd;
        QueueEntry memory entry = QueueEntry(DEPOSIT, msg.sender, token, uint112(amount), 0, owner, key);
        queueDigest[index] = Challenges.queueDigest(queueDigest[index - 1], Challenges.entryHash(entry));
        queueDeadline[index] = deadline(index);
        emit Queued(index, DEPOSIT, msg.sender, token, uint112(amount), 0, owner, key);
    }

    /// No later than a full circuit an hour can serve what is queued before it.
    function deadline(uint256 index) private view returns (uint256 time) {
        time = block.timestamp + forceTimeout;
        uint256 spaced = index > queueRate ? queueDeadline[index - queueRate] + QUEUE_PERIOD : 0;
        if (spaced > time) time = spaced;
    }

    function credit(address to, uint16 token, uint256 amount, uint256 number) private {
        claimable[token][to] += amount;
        emit Credited(to, token, amount, number);
    }

    function mark(uint256 number, uint256 item) private returns (bool fresh) {
        uint256 bit = 1 << (item & 255);
        uint256 bits = settledBits[number][item >> 8];
        fresh = bits & bit == 0;
        if (fresh) settledBits[number][item >> 8] = bits | bit;
    }

    function payNative(address to, uint256 amount) private {
        (bool ok,) = to.call{value: amount}("");
        if (!ok) revert TransferFailed(NATIVE);
    }

    /// Tokens that return nothing are taken at their word, unless their code is gone; anything but `true` is a refusal.
    function callToken(uint16 token, address erc20, bytes memory data) private {
        (bool ok, bytes memory answer) = erc20.call(data);
        bool agreed = answer.length == 0 ? erc20.code.length != 0 : answer.length >= 32 && uint256(bytes32(answer)) == 1;
        if (!ok || !agreed) revert TransferFailed(token);
    }

    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Internals: commit
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    function requireCircuit(uint256 circuit) private view {
        if (circuit == 0 || circuit > circuitCount) revert UnknownCircuit(circuit);
    }

    function requirePoints(Commit calldata batch) private pure {
        for (uint256 i; i < 6; i += 2) {
            Bn254.requireOnCurve(batch.commitments[i], batch.commitments[i + 1]);
        }
        Bn254.requireOnCurve(batch.cq[0], batch.cq[1]);
        requireBelow(batch.h, Bn254.R);
    }

    function requireBelow(uint256 word, uint256 bound) private pure {
        if (word >= bound) revert WordOutOfRange(word);
    }

    /// The entries must be the next ones of the queue, all of them as they were queued: their digests are chained.
    function takeEntries(Commit calldata batch) private {
        uint256 from = queueCommittedEnd;
        uint256 end = from + batch.taken.length;
        bytes32 digest = queueDigest[from];
        for (uint256 i; i < batch.taken.length; ++i) {
            digest = Challenges.queueDigest(digest, Challenges.entryHash(batch.taken[i]));
        }
        if (end > queueEnd || digest != queueDigest[end] || digest != batch.queueDigest) revert QueueMismatch();
        if (batch.choices.length != batch.taken.length) revert WrongChoiceCount(batch.choices.length, batch.taken.length);
        queueCommittedEnd = uint64(end);
    }

    function depositsIn(uint256[] calldata choices) private pure returns (uint256 count) {
        for (uint256 i; i < choices.length; ++i) {
            if (choices[i] >> 8 != 0) ++count;
        }
    }

    function buildWords(Commit calldata batch, Shape memory shape) private view returns (uint256[] memory words) {
        uint256 deposits = depositsIn(batch.choices);
        if (deposits > shape.deposits) revert TooManyDeposits(deposits, shape.deposits);
        if (batch.withdrawals.length > shape.withdrawals) revert TooManyWithdrawals(batch.withdrawals.length, shape.withdrawals);
        words = new uint256[](Words.WITHDRAWAL_WORDS * batch.withdrawals.length + Words.DEPOSIT_WORDS * deposits);
        uint256 at = putWithdrawals(batch.withdrawals, words);
        for (uint256 i; i < batch.taken.length; ++i) {
            at = putDeposit(batch.taken[i], batch.choices[i], words, at);
        }
    }

    function putWithdrawals(Withdrawal[] calldata withdrawals, uint256[] memory words) private pure returns (uint256 at) {
        for (uint256 i; i < withdrawals.length; ++i) {
            Withdrawal calldata withdrawal = withdrawals[i];
            requireBelow(withdrawal.w0, W0_CAP);
            requireBelow(withdrawal.amount, SUPPLY_CAP);
            requireBelow(withdrawal.recipient, ADDRESS_CAP);
            (words[at], words[at + 1], words[at + 2]) = (withdrawal.w0, withdrawal.amount, withdrawal.recipient);
            at += Words.WITHDRAWAL_WORDS;
        }
    }

    /// K = slot 2^16 + token is built here; amount, owner and key were ranged when the entry was queued.
    function putDeposit(QueueEntry calldata entry, uint256 choice, uint256[] memory words, uint256 at) private view returns (uint256) {
        if (choice & 0xff != entry.kind) revert WrongChoiceKind(choice, entry.kind);
        uint256 slot = choice >> 8;
        if (slot == 0) return at;
        if (slot >> k != 0) revert SlotOutOfRange(slot);
        (words[at], words[at + 1]) = (slot << 16 | entry.token, entry.amount);
        (words[at + 2], words[at + 3]) = (uint160(entry.owner), entry.key);
        return at + Words.DEPOSIT_WORDS;
    }

    function headerOf(Commit calldata batch, uint256[] memory words) private view returns (Header memory) {
        return Header({
            number: batch.number,
            circuit: batch.circuit,
            oldRoot: committedRoot,
            commitments: batch.commitments,
            h: batch.h,
            queueDigest: batch.queueDigest,
            taken: batch.taken.length,
            opsHash: keccak256(abi.encode(batch.choices, words)),
            dataHash: keccak256(batch.data)
        });
    }

    // ---------------------------------------------------------------------------------------------------------------------------------------------
    // Internals: prove
    // ---------------------------------------------------------------------------------------------------------------------------------------------

    function firstUnproven(BatchProof[] calldata batches) private view returns (uint256 first) {
        while (first < batches.length && batches[first].record.header.number <= provenNumber) ++first;
        if (first == batches.length) revert NothingToProve();
    }

    function checkBatch(Proving memory p, BatchProof calldata batch, uint256 expected) private view {
        uint256 number = batch.record.header.number;
        if (number != expected) revert WrongNumber(number, expected);
        if (number > committedNumber) revert NotCommitted(number);
        if (Challenges.recordHash(batch.record) != batchHash[number]) revert RecordMismatch(number);
        if (batch.record.header.oldRoot != p.root) revert OldRootMismatch(number);
        if (batch.e >= Bn254.R) revert PublicInputOutOfRange(batch.e);
        if (batch.z >= Bn254.R) revert PublicInputOutOfRange(batch.z);
        if (batch.delta >= Bn254.R) revert PublicInputOutOfRange(batch.delta);
    }

    /// Weights: a_i = weight(2i), a_1 = 1; b_i = weight(2i + 1).
    function addBatch(Proving memory p, uint256[6] calldata before, BatchProof calldata batch, uint256 i) private view {
        Kzg.Challenge memory challenge;
        challenge.rho = Challenges.rho(domain, Challenges.headerHash(batch.record));
        challenge.zeta = Challenges.zeta(challenge.rho, batch.record.cq);
        challenge.gamma = Challenges.gamma(challenge.zeta, batch);
        uint256[8] memory inputs = [
            challenge.rho, challenge.zeta, batch.record.header.h, batch.e, batch.z, batch.delta, batch.record.yDa, batch.record.yOps
        ];
        uint256 weight = i == 0 ? 1 : Challenges.weight(p.seed, 2 * i);
        Groth16.add(p.circuits[batch.record.header.circuit - 1], p.pairs, batch.groth16, inputs, weight);
        Kzg.add(p.kzg, before, batch, challenge, Challenges.weight(p.seed, 2 * i + 1));
    }

    /// The one pairing check; `last` are the commitments after the last batch.
    function holds(Proving memory p, uint256[6] calldata last) private view returns (bool) {
        Keys.Shared memory shared = Keys.readShared(keys, k);
        uint256 weights;
        for (uint256 c; c < p.circuits.length; ++c) {
            if (!p.circuits[c].used) continue;
            weights = addmod(weights, p.circuits[c].scalars[0], Bn254.R);
            Groth16.close(p.circuits[c], p.pairs, p.kzg.g2, Keys.readCircuit(keys, c + 1));
        }
        (uint256 x, uint256 y) = Bn254.mul(shared.alpha[0], shared.alpha[1], weights);
        Bn254.push(p.pairs, x, y, shared.beta[0], shared.beta[1], shared.beta[2], shared.beta[3]);
        Kzg.close(p.kzg, p.pairs, last, shared.l0, shared.tau);
        Bn254.push(p.pairs, p.kzg.g2.x, p.kzg.g2.y, Bn254.G2_X1, Bn254.G2_X0, Bn254.G2_Y1, Bn254.G2_Y0);
        return Bn254.productIsOne(p.pairs);
    }
}
